package hearth;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What an invocation or an init failed with, as it is told: {@code errorMessage}, {@code errorType},
 * {@code stackTrace}. Frames of this package, and of the reflection between it and the function, are left out.
 */
final class Failure extends Exception {
  private static final long serialVersionUID = 1;
  private static final String OURS = Failure.class.getPackageName() + ".";
  private static final List<String> REFLECTION =
      List.of("jdk.internal.reflect.", "java.lang.reflect.", "java.lang.invoke.", "jdk.proxy");

  private final String text;
  private final String type;
  private final Throwable thrown;
  private final boolean withFrames;
  /** Whether no more of the function's code may run in this process. */
  final boolean fatal;

  private Failure(String text, String type, Throwable thrown, boolean withFrames, boolean fatal) {
    super(text, null, false, false);
    this.text = text;
    this.type = type;
    this.thrown = thrown;
    this.withFrames = withFrames;
    this.fatal = fatal;
  }

  /** What the function threw. */
  static Failure thrown(Throwable error) {
    boolean fatal = error instanceof VirtualMachineError || error instanceof java.io.IOError;
    return new Failure(message(error), error.getClass().getName(), error, true, fatal);
  }

  /** A problem that has no exception of its own. */
  static Failure of(String message) {
    return new Failure(message, null, null, false, false);
  }

  /** A problem with loading the function, in other words than those of the exception; told without frames. */
  static Failure loading(String message, Throwable error, boolean fatal) {
    return new Failure(message, error.getClass().getName(), error, false, fatal);
  }

  static String message(Throwable error) {
    String message = error.getLocalizedMessage();
    return message == null ? error.getClass().getName() : message;
  }

  /** For the header that classifies it: nothing of the user's own. */
  String header() {
    return withFrames ? "Runtime.UserException" : "Runtime.BadFunctionCode";
  }

  byte[] document() {
    Map<String, Object> document = new LinkedHashMap<>();
    document.put("errorMessage", text);
    if (type != null) {
      document.put("errorType", type);
    }
    if (withFrames) {
      cut(thrown);
      List<String> frames = new ArrayList<>();
      for (StackTraceElement frame : thrown.getStackTrace()) {
        frames.add(frame.toString());
      }
      document.put("stackTrace", frames);
    }
    return Json.write(document);
  }

  /** What is written to the log: as AWS's runtime has it. */
  String logged() {
    if (thrown == null) {
      return text + "\n";
    }
    cut(thrown);
    StringWriter trace = new StringWriter();
    thrown.printStackTrace(new PrintWriter(trace));
    return text + ": " + type + "\n" + trace;
  }

  private static void cut(Throwable error) {
    cut(error, Collections.newSetFromMap(new IdentityHashMap<>()));
  }

  private static void cut(Throwable error, Set<Throwable> seen) {
    if (error == null || !seen.add(error)) {
      return;
    }
    List<StackTraceElement> frames = new ArrayList<>();
    for (StackTraceElement frame : error.getStackTrace()) {
      if (frame.getClassName().startsWith(OURS)) {
        while (!frames.isEmpty() && isReflection(frames.get(frames.size() - 1))) {
          frames.remove(frames.size() - 1);
        }
        error.setStackTrace(frames.toArray(StackTraceElement[]::new));
        break;
      }
      frames.add(frame);
    }
    cut(error.getCause(), seen);
    for (Throwable suppressed : error.getSuppressed()) {
      cut(suppressed, seen);
    }
  }

  private static boolean isReflection(StackTraceElement frame) {
    return REFLECTION.stream().anyMatch(frame.getClassName()::startsWith);
  }
}
