package functions;

import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What test_languages.py asks of every language, in Java. */
public class Every implements RequestHandler<Map<String, Object>, Object> {
  static {
    if ("raise".equals(System.getenv("AT_INIT"))) {
      throw new IllegalStateException("at init");
    }
    if ("exit".equals(System.getenv("AT_INIT"))) {
      Runtime.getRuntime().halt(3);
    }
  }

  /** What it throws. */
  public static class Broken extends RuntimeException {
    Broken(String message, Throwable cause) {
      super(message, cause);
    }
  }

  @Override
  public Object handleRequest(Map<String, Object> event, Context context) {
    return switch ((String) event.get("do")) {
      case "echo" -> event;
      case "context" -> told(context);
      case "environment" -> environment((List<?>) event.get("names"));
      case "log" -> logged((String) event.get("text"));
      case "large" -> "x".repeat((int) event.get("size"));
      case "raise" -> throw new Broken((String) event.get("message"), null);
      case "cause" -> throw new Broken("outer", new IllegalArgumentException("inner"));
      case "exit" -> halted();
      case "sleep" -> slept();
      case "memory" -> filled();
      case "garbage" -> collected((int) event.get("rounds"));
      default -> null;
    };
  }

  private static Object told(Context context) {
    ClientContext client = context.getClientContext();
    Map<String, Object> told = new LinkedHashMap<>();
    told.put("request_id", context.getAwsRequestId());
    told.put("function_name", context.getFunctionName());
    told.put("function_version", context.getFunctionVersion());
    told.put("arn", context.getInvokedFunctionArn());
    told.put("memory_mb", String.valueOf(context.getMemoryLimitInMB()));
    told.put("log_group", context.getLogGroupName());
    told.put("log_stream", context.getLogStreamName());
    told.put("left_ms", context.getRemainingTimeInMillis());
    told.put("custom", client == null ? null : client.getCustom());
    told.put("client_env", client == null ? null : client.getEnvironment());
    told.put("title", client == null || client.getClient() == null ? null : client.getClient().getAppTitle());
    return told;
  }

  private static Object environment(List<?> names) {
    Map<String, String> found = new LinkedHashMap<>();
    for (Object name : names) {
      found.put((String) name, System.getenv((String) name));
    }
    return found;
  }

  private static Object logged(String text) {
    System.out.println("to stdout: " + text);
    System.err.println("to stderr: " + text);
    return null;
  }

  private static Object halted() {
    Runtime.getRuntime().halt(3);
    return null;
  }

  private static Object slept() {
    try {
      Thread.sleep(60_000);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return null;
  }

  private static Object filled() {
    List<byte[]> kept = new ArrayList<>();
    for (int i = 0; i < 4096; i++) {
      byte[] megabyte = new byte[1024 * 1024];
      java.util.Arrays.fill(megabyte, (byte) 1);
      kept.add(megabyte);
    }
    return kept.size();
  }

  /** Far more than the function's memory, of which little is kept at a time. */
  private static Object collected(int rounds) {
    Object[] kept = new Object[8];
    for (int i = 0; i < rounds; i++) {
      List<byte[]> small = new ArrayList<>();
      for (int piece = 0; piece < 1024; piece++) {
        small.add(new byte[1024]);
      }
      kept[i % kept.length] = small;
    }
    return rounds;
  }
}
