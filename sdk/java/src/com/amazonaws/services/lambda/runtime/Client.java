package com.amazonaws.services.lambda.runtime;

/** The mobile client that called. */
public interface Client {
  String getInstallationId();

  String getAppTitle();

  String getAppVersionName();

  String getAppVersionCode();

  String getAppPackageName();
}
