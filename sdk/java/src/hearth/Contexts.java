package hearth;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * The handler's {@code Context} and what hangs on it: objects of the interfaces that the function's own class loader
 * has, whichever version of them, so that every getter of theirs which we know is answered, and any other with null.
 */
final class Contexts {
  private static final String PACKAGE = "com.amazonaws.services.lambda.runtime.";

  private final ClassLoader loader;
  private final Log log;
  private final Object logger;

  Contexts(ClassLoader loader, Log log) throws ReflectiveOperationException {
    this.loader = loader;
    this.log = log;
    this.logger = proxy("LambdaLogger", this::logs);
    try {
      var field = type("LambdaRuntime").getDeclaredField("logger");
      field.setAccessible(true);
      field.set(null, logger);
    } catch (ReflectiveOperationException | RuntimeException e) {
      // A version of the class that has no such field: its own logger writes to standard output.
    }
  }

  /** One of the interfaces. */
  Class<?> type(String name) throws ClassNotFoundException {
    return Class.forName(PACKAGE + name, false, loader);
  }

  /** The context of one invocation. */
  Object context(RuntimeApi.Answer invocation) throws ReflectiveOperationException {
    long deadlineMs = Long.parseLong(invocation.headers().getOrDefault("lambda-runtime-deadline-ms", "0"));
    Object identity = identity(parsed(invocation.header("lambda-runtime-cognito-identity")));
    Object client = clientContext(parsed(invocation.header("lambda-runtime-client-context")));
    return proxy(
        "Context",
        (self, method, arguments) ->
            switch (method.getName()) {
              case "getAwsRequestId" -> invocation.header("lambda-runtime-aws-request-id");
              case "getLogGroupName" -> System.getenv("AWS_LAMBDA_LOG_GROUP_NAME");
              case "getLogStreamName" -> System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
              case "getFunctionName" -> System.getenv("AWS_LAMBDA_FUNCTION_NAME");
              case "getFunctionVersion" -> System.getenv("AWS_LAMBDA_FUNCTION_VERSION");
              case "getInvokedFunctionArn" -> invocation.header("lambda-runtime-invoked-function-arn");
              case "getRemainingTimeInMillis" -> (int) Math.max(0, deadlineMs - System.currentTimeMillis());
              case "getMemoryLimitInMB" -> Integer.parseInt(System.getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
              case "getTenantId" -> invocation.header("lambda-runtime-aws-tenant-id");
              case "getXrayTraceId" -> invocation.header("lambda-runtime-trace-id");
              case "getIdentity" -> identity;
              case "getClientContext" -> client;
              case "getLogger" -> logger;
              default -> other(self, method, arguments);
            });
  }

  private Object identity(Map<?, ?> given) throws ReflectiveOperationException {
    return given == null
        ? null
        : proxy(
            "CognitoIdentity",
            (self, method, arguments) ->
                switch (method.getName()) {
                  case "getIdentityId" -> given.get("cognitoIdentityId");
                  case "getIdentityPoolId" -> given.get("cognitoIdentityPoolId");
                  default -> other(self, method, arguments);
                });
  }

  private Object clientContext(Map<?, ?> given) throws ReflectiveOperationException {
    if (given == null) {
      return null;
    }
    Object client = given.get("client") instanceof Map<?, ?> told ? client(told) : null;
    return proxy(
        "ClientContext",
        (self, method, arguments) ->
            switch (method.getName()) {
              case "getClient" -> client;
              case "getCustom" -> given.get("custom");
              case "getEnvironment" -> given.get("env");
              default -> other(self, method, arguments);
            });
  }

  private Object client(Map<?, ?> given) throws ReflectiveOperationException {
    return proxy(
        "Client",
        (self, method, arguments) ->
            switch (method.getName()) {
              case "getInstallationId" -> given.get("installation_id");
              case "getAppTitle" -> given.get("app_title");
              case "getAppVersionName" -> given.get("app_version_name");
              case "getAppVersionCode" -> given.get("app_version_code");
              case "getAppPackageName" -> given.get("app_package_name");
              default -> other(self, method, arguments);
            });
  }

  private Object logs(Object self, Method method, Object[] arguments) {
    if (!method.getName().equals("log")) {
      return other(self, method, arguments);
    }
    // Newer versions have a level beside the message.
    String level = arguments.length > 1 ? String.valueOf(arguments[1]) : null;
    if (arguments[0] instanceof byte[] bytes) {
      log.write(bytes);
    } else {
      log.write(String.valueOf(arguments[0]), level);
    }
    return null;
  }

  /** What every object has; and nothing for what we don't know. */
  private static Object other(Object self, Method method, Object[] arguments) {
    return switch (method.getName()) {
      case "hashCode" -> System.identityHashCode(self);
      case "equals" -> self == arguments[0];
      case "toString" -> self.getClass().getInterfaces()[0].getSimpleName();
      default -> null;
    };
  }

  private Object proxy(String name, InvocationHandler handler) throws ClassNotFoundException {
    return Proxy.newProxyInstance(loader, new Class<?>[] {type(name)}, handler);
  }

  private static Map<?, ?> parsed(String header) {
    return header == null || header.isEmpty() ? null : (Map<?, ?>) Json.read(header.getBytes(StandardCharsets.UTF_8));
  }
}
