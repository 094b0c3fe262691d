package hearth;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The function's log, in the format that it asked for. A message is a line, also if it does not end as one. */
final class Log {
  private static final List<String> LEVELS = List.of("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL");

  private final PrintStream output;
  private final boolean json;
  private final int least;
  /** Of the invocation that runs. */
  volatile String requestId;

  /** {@code level} (the least that is written) may be null. */
  Log(PrintStream output, boolean json, String level) {
    this.output = output;
    this.json = json;
    this.least = json && level != null ? LEVELS.indexOf(level.toUpperCase()) : -1;
  }

  /** As the function's variables have it. */
  static Log ofFunction(PrintStream output) {
    boolean json = "JSON".equalsIgnoreCase(System.getenv("AWS_LAMBDA_LOG_FORMAT"));
    return new Log(output, json, System.getenv("AWS_LAMBDA_LOG_LEVEL"));
  }

  /** Writes a message; {@code level} may be null. */
  void write(String message, String level) {
    boolean levelled = level != null && LEVELS.contains(level);
    if (levelled && LEVELS.indexOf(level) < least) {
      return;
    }
    String line = message;
    if (json) {
      Map<String, Object> document = new LinkedHashMap<>();
      document.put("timestamp", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString());
      document.put("level", levelled ? level : "UNDEFINED");
      document.put("message", message);
      if (requestId != null) {
        document.put("AWSRequestId", requestId);
      }
      line = new String(Json.write(document), StandardCharsets.UTF_8);
    } else if (levelled) {
      line = "[" + level + "] " + message;
    }
    write(line.getBytes(StandardCharsets.UTF_8));
  }

  /** Writes bytes as they are. */
  void write(byte[] bytes) {
    boolean ends = bytes.length > 0 && bytes[bytes.length - 1] == '\n';
    synchronized (output) {
      output.write(bytes, 0, bytes.length);
      if (!ends) {
        output.write('\n');
      }
      output.flush();
    }
  }
}
