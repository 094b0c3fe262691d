package com.amazonaws.services.lambda.runtime;

/** The logger for code that has no context at hand. The bootstrap sets the field. */
public final class LambdaRuntime {
  private static volatile LambdaLogger logger;

  private LambdaRuntime() {}

  public static LambdaLogger getLogger() {
    return logger;
  }
}
