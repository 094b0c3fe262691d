package hearth;

import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TimeZone;

/**
 * Runs Java functions on Hearth: loads the handler, then serves one invocation after the other.
 *
 * <p>Started in one of two ways:
 *
 * <ul>
 *   <li>before any function is known ({@code HEARTH_INIT_FD} names a socket): what this needs is loaded, {@code ready} is
 *       written to the socket, and the rest waits for the one JSON document that the shim sends, and then closes with:
 *       {@code {"environment": {…}, "handler": "pkg.Class", "taskRoot": "/var/task", "cloned": false}}; {@code cloned}
 *       says that other processes may have been restored from the same snapshot as this one, so that random numbers have
 *       to begin anew; if a function already waits for the sandbox ({@code HEARTH_WANTED}), nothing is warmed up and
 *       nothing written;
 *   <li>for a known function (no {@code HEARTH_INIT_FD}): handler and task root are in the environment.
 * </ul>
 *
 * <p>What functions see (class path, handlers, context, error documents, log lines) is what AWS Lambda's managed Java
 * runtimes show them: AWS Lambda developer guide, "Building Lambda functions with Java".
 *
 * <p>Invariants: no dependency, Java 17 or later; one connection to the Runtime API, one request at a time on it; nobody
 * asks for the environment before it is the function's ({@link Native}).
 */
public final class Bootstrap {
  private static final int INIT_FAILED = 1;
  private static final int WARM_UP_ROUNDS = 20;

  private Bootstrap() {}

  /** Never returns while the sandbox lives. */
  public static void main(String[] arguments) throws Exception {
    Map<String, String> started = startedWith();
    RuntimeApi api = new RuntimeApi(started.get("AWS_LAMBDA_RUNTIME_API"));
    PrintStream out = unbuffered(FileDescriptor.out);
    System.setOut(out);
    System.setErr(unbuffered(FileDescriptor.err));
    MemoryWatch watch = new MemoryWatch();
    String descriptor = started.get("HEARTH_INIT_FD");
    if (descriptor != null) {
      Native.load();
      waitForFunction(descriptor, started.containsKey("HEARTH_WANTED"), api, watch);
    }
    keepTimeZone();
    Log log = Log.ofFunction(out);
    startWatch(watch, descriptor == null || started.containsKey("HEARTH_WANTED"));
    serve(api, log);
  }

  private static void serve(RuntimeApi api, Log log) throws Exception {
    String taskRoot = System.getenv("LAMBDA_TASK_ROOT");
    ClassLoader loader = new URLClassLoader(classPath(taskRoot), ClassLoader.getPlatformClassLoader());
    Thread.currentThread().setContextClassLoader(loader);
    Contexts contexts = new Contexts(loader, log);
    Handlers.Handler handler;
    try {
      handler = new Handlers(loader, contexts).find(String.valueOf(System.getenv("_HANDLER")));
    } catch (Failure failure) {
      log.write(failure.logged(), null);
      api.failInit(failure);
      Runtime.getRuntime().halt(INIT_FAILED);
      return;
    }
    if ("snap-start".equals(System.getenv("AWS_LAMBDA_INITIALIZATION_TYPE"))) {
      awaitRestore(api);
    }
    while (serveOne(api, contexts, handler, log)) {
      Thread.interrupted(); // Cleared, if the function set it.
    }
    Runtime.getRuntime().halt(INIT_FAILED);
  }

  /** Waits until the sandbox was restored from the snapshot that is taken now; other copies of it may run. */
  private static void awaitRestore(RuntimeApi api) throws Exception {
    Native.load();
    System.gc();
    RuntimeApi.Answer restored = api.restoreNext();
    if (restored.body().length > 0) {
      Map<?, ?> told = (Map<?, ?>) Json.read(restored.body());
      if (told.get("environment") instanceof Map<?, ?> changed) {
        changed.forEach((name, value) -> Native.change((String) name, (String) value));
      }
    }
    Native.reseed(fromKernel());
  }

  /** One invocation; whether there may be another one. */
  private static boolean serveOne(RuntimeApi api, Contexts contexts, Handlers.Handler handler, Log log)
      throws Exception {
    RuntimeApi.Answer invocation = api.next();
    String requestId = invocation.header("lambda-runtime-aws-request-id");
    log.requestId = requestId;
    String trace = invocation.header("lambda-runtime-trace-id");
    if (trace == null) {
      System.clearProperty("com.amazonaws.xray.traceHeader");
    } else {
      System.setProperty("com.amazonaws.xray.traceHeader", trace);
    }
    Failure failure = null;
    byte[] answer = null;
    try {
      answer = handler.call(invocation.body(), contexts.context(invocation));
    } catch (Failure told) {
      failure = told;
    } catch (Throwable e) {
      failure = Failure.thrown(e);
    }
    if (failure == null) {
      flush();
      api.respond(requestId, answer);
      return true;
    }
    log.write(failure.logged(), null);
    flush();
    api.fail(requestId, failure);
    return !failure.fatal;
  }

  private static void flush() {
    System.out.flush();
    System.err.flush();
  }

  /** Code, its libraries, those of layers; and last, our copy of the interfaces, for code that brings none. */
  private static URL[] classPath(String taskRoot) throws MalformedURLException {
    List<URL> path = new ArrayList<>(List.of(new File(taskRoot).toURI().toURL()));
    if (!path.get(0).getPath().endsWith("/")) {
      path.set(0, new URL(path.get(0) + "/"));
    }
    for (String directory : List.of(taskRoot + "/lib", "/opt/java/lib")) {
      String[] names = new File(directory).list((parent, name) -> name.endsWith(".jar"));
      Arrays.sort(names == null ? names = new String[0] : names);
      for (String name : names) {
        path.add(new File(directory, name).toURI().toURL());
      }
    }
    path.add(Bootstrap.class.getProtectionDomain().getCodeSource().getLocation());
    return path.toArray(URL[]::new);
  }

  /** The environment that this process was started with, without asking Java for it. */
  private static Map<String, String> startedWith() throws IOException {
    Map<String, String> variables = new HashMap<>();
    for (String variable : Files.readString(Path.of("/proc/self/environ"), StandardCharsets.ISO_8859_1).split("\0")) {
      int equals = variable.indexOf('=');
      if (equals > 0) {
        variables.put(variable.substring(0, equals), variable.substring(equals + 1));
      }
    }
    return variables;
  }

  private static PrintStream unbuffered(FileDescriptor descriptor) {
    return new PrintStream(new FileOutputStream(descriptor), true, StandardCharsets.UTF_8);
  }

  /** Java looked at TZ when it started; the function's may be another one. */
  private static void keepTimeZone() {
    String zone = System.getenv("TZ");
    if (zone != null) {
      TimeZone.setDefault(TimeZone.getTimeZone(zone.startsWith(":") ? zone.substring(1) : zone));
    }
  }

  private static void startWatch(MemoryWatch watch, boolean unprepared) {
    int memoryMb = Integer.parseInt(System.getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
    Thread thread =
        new Thread(
            () -> {
              if (unprepared) {
                watch.prepare();
              }
              watch.begin(memoryMb);
            },
            "hearth-memory");
    thread.setDaemon(true);
    thread.start();
  }

  private static void waitForFunction(String descriptor, boolean wanted, RuntimeApi api, MemoryWatch watch)
      throws Exception {
    if (!wanted) {
      watch.prepare();
      warmUp(api);
    }
    byte[] ready = (wanted ? "" : "ready\n").getBytes(StandardCharsets.UTF_8);
    byte[] document = Native.talk(Integer.parseInt(descriptor), ready);
    if (document.length == 0) {
      Runtime.getRuntime().halt(0); // The sandbox is ending without ever having been used.
    }
    Map<?, ?> told = (Map<?, ?>) Json.read(document);
    Map<Object, Object> environment = new HashMap<>((Map<?, ?>) told.get("environment"));
    environment.put("_HANDLER", told.get("handler"));
    environment.put("LAMBDA_TASK_ROOT", told.get("taskRoot"));
    Native.become(environment, (String) told.get("taskRoot"));
    if (told.get("cloned") == Boolean.TRUE) {
      Native.reseed(fromKernel());
    }
  }

  private static long fromKernel() throws IOException {
    try (InputStream random = new FileInputStream("/dev/urandom")) {
      return java.nio.ByteBuffer.wrap(random.readNBytes(Long.BYTES)).getLong();
    }
  }

  /** Does, before anybody waits, what init and the first call would otherwise pay for. */
  private static void warmUp(RuntimeApi api) throws Exception {
    ClassLoader loader = Bootstrap.class.getClassLoader();
    Log log = new Log(new PrintStream(OutputStream.nullOutputStream()), false, null);
    Contexts contexts = new Contexts(loader, log);
    Map<String, String> headers = new HashMap<>(Map.of("lambda-runtime-deadline-ms", "0"));
    headers.put("lambda-runtime-client-context", "{\"custom\":{},\"client\":{}}");
    byte[] event = "{\"a\":[1,2.5,\"b\\n\",true,null]}".getBytes(StandardCharsets.UTF_8);
    for (int round = 0; round < WARM_UP_ROUNDS; round++) {
      api.ping();
      Handlers handlers = new Handlers(loader, contexts);
      Object context = contexts.context(new RuntimeApi.Answer(200, headers, event));
      for (String name : List.of("hearth.Rehearsal", "hearth.Rehearsal::streams")) {
        try {
          handlers.find(name).call(event, context);
        } catch (Throwable e) {
          throw new IllegalStateException(e);
        }
      }
      Failure.thrown(new RuntimeException("rehearsed")).document();
    }
    classPath("/nowhere");
    try (URLClassLoader own = new URLClassLoader(classPath("/nowhere"), ClassLoader.getPlatformClassLoader())) {
      new Contexts(own, log);
      own.loadClass("hearth.Rehearsal").getMethods();
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
    System.gc();
  }
}
