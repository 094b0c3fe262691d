package hearth;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Finds the function that a handler such as {@code package.Class} or {@code package.Class::method} stands for. */
final class Handlers {
  private static final byte[] NULL = {'n', 'u', 'l', 'l'};

  /** A function: bytes and context in, bytes out. */
  interface Handler {
    byte[] call(byte[] input, Object context) throws Throwable;
  }

  private final ClassLoader loader;
  private final Class<?> context;
  private final Class<?> requestHandler;
  private final Class<?> streamHandler;

  Handlers(ClassLoader loader, Contexts contexts) throws ClassNotFoundException {
    this.loader = loader;
    this.context = contexts.type("Context");
    this.requestHandler = contexts.type("RequestHandler");
    this.streamHandler = contexts.type("RequestStreamHandler");
  }

  /**
   * The function. One that can't be found is told by every call, as AWS has it.
   *
   * @throws Failure that is fatal: the init failed
   */
  Handler find(String handler) throws Failure {
    try {
      return load(handler);
    } catch (Failure failure) {
      if (failure.fatal) {
        throw failure;
      }
      return (input, given) -> {
        throw failure;
      };
    }
  }

  private Handler load(String handler) throws Failure {
    int colons = handler.lastIndexOf("::");
    String className = colons < 0 ? handler : handler.substring(0, colons);
    String method = colons < 0 ? null : handler.substring(colons + 2);
    if (className.isEmpty() || method != null && method.isEmpty()) {
      throw Failure.of("Invalid handler: `" + handler + "'");
    }
    Class<?> type;
    try {
      type = Class.forName(className, true, loader);
    } catch (ClassNotFoundException e) {
      throw Failure.loading("Class not found: " + className, e, false);
    } catch (Throwable e) {
      String message = e.getMessage() == null ? "" : ": " + e.getMessage();
      throw Failure.loading("Error loading class " + className + message, e, true);
    }
    return method == null ? ofInterface(type) : ofMethod(type, method);
  }

  private Handler ofInterface(Class<?> type) throws Failure {
    boolean streams = streamHandler.isAssignableFrom(type);
    if (!streams && !requestHandler.isAssignableFrom(type)) {
      throw Failure.of("Class does not implement an appropriate handler interface: " + type.getName());
    }
    Method method = method(streams ? streamHandler : requestHandler);
    if (streams) {
      Object target = instance(type);
      return (input, given) -> streamed(method, target, new ByteArrayInputStream(input), given);
    }
    Type[] arguments = arguments(type, new HashMap<>());
    String problem = "Class " + type.getName() + " does not implement RequestHandler with concrete type parameters";
    if (arguments == null) {
      throw Failure.of(problem);
    }
    for (Type argument : arguments) {
      if (argument instanceof TypeVariable<?> open && Arrays.equals(open.getBounds(), new Type[] {Object.class})) {
        throw Failure.of(problem + ": parameter " + open + " has no upper bound.");
      }
    }
    Object target = instance(type);
    return (input, given) -> converted(input, arguments[0], arguments[1], in -> invoke(method, target, in, given));
  }

  private static Method method(Class<?> handler) {
    return Arrays.stream(handler.getMethods())
        .filter(method -> method.getName().equals("handleRequest"))
        .findFirst()
        .orElseThrow();
  }

  /** What RequestHandler's two parameters are in {@code type}; {@code known} are those of its own. */
  private Type[] arguments(Type type, Map<TypeVariable<?>, Type> known) {
    Class<?> raw = type instanceof ParameterizedType parameterized ? (Class<?>) parameterized.getRawType() : (Class<?>) type;
    if (type instanceof ParameterizedType parameterized) {
      Type[] given = parameterized.getActualTypeArguments();
      for (int i = 0; i < given.length; i++) {
        known.put(raw.getTypeParameters()[i], known.getOrDefault(given[i], given[i]));
      }
      if (raw == requestHandler) {
        return Arrays.stream(given).map(argument -> known.getOrDefault(argument, argument)).toArray(Type[]::new);
      }
    }
    for (Type parent : raw.getGenericInterfaces()) {
      Type[] found = arguments(parent, known);
      if (found != null) {
        return found;
      }
    }
    return raw.getGenericSuperclass() == null ? null : arguments(raw.getGenericSuperclass(), known);
  }

  /** Of several methods with the name, the one with the most parameters; a context as the last one counts twice. */
  private Handler ofMethod(Class<?> type, String name) throws Failure {
    Comparator<Method> longest = Comparator.comparingInt(this::weight);
    List<Method> named =
        Arrays.stream(type.getMethods())
            .filter(method -> method.getName().equals(name))
            .sorted(Comparator.comparing(Method::isBridge).thenComparing(longest.reversed()))
            .toList();
    for (Method method : named) {
      Handler handler = of(type, method);
      if (handler != null) {
        return handler;
      }
    }
    String problem = "No public method named " + name + " with appropriate method signature found on class ";
    throw Failure.of(problem + type.getName());
  }

  private int weight(Method method) {
    Class<?>[] types = method.getParameterTypes();
    return types.length + (types.length > 0 && types[types.length - 1] == context ? 1 : 0);
  }

  /** Null if its parameters are none that a function can have. */
  private Handler of(Class<?> type, Method method) throws Failure {
    List<Class<?>> types = List.of(method.getParameterTypes());
    boolean hasContext = !types.isEmpty() && types.get(types.size() - 1) == context;
    List<Class<?>> rest = hasContext ? types.subList(0, types.size() - 1) : types;
    boolean in = rest.contains(InputStream.class);
    boolean out = rest.contains(OutputStream.class);
    boolean streams = rest.equals(List.of(InputStream.class)) || rest.equals(List.of(OutputStream.class))
        || rest.equals(List.of(InputStream.class, OutputStream.class));
    if (!streams && (rest.size() > 1 || rest.contains(context) || in || out)) {
      return null;
    }
    method.trySetAccessible();
    Object target = Modifier.isStatic(method.getModifiers()) ? null : instance(type);
    if (streams) {
      return (input, given) -> {
        Object stream = in ? new ByteArrayInputStream(input) : null;
        return streamed(method, target, out, stream, hasContext ? given : null);
      };
    }
    Type inputType = rest.isEmpty() ? null : method.getGenericParameterTypes()[0];
    Type outputType = method.getGenericReturnType();
    return (input, given) ->
        converted(
            input,
            inputType,
            outputType,
            value -> {
              Object[] all = {value, given};
              int from = rest.isEmpty() ? 1 : 0;
              return invoke(method, target, Arrays.copyOfRange(all, from, hasContext ? 2 : 1));
            });
  }

  private static byte[] streamed(Method method, Object target, InputStream input, Object given) throws Throwable {
    return streamed(method, target, true, input, given);
  }

  private static byte[] streamed(Method method, Object target, boolean out, Object input, Object given)
      throws Throwable {
    ByteArrayOutputStream output = new ByteArrayOutputStream();
    Object[] all = {input, out ? output : null, given};
    invoke(method, target, Arrays.stream(all).filter(argument -> argument != null).toArray());
    return output.toByteArray();
  }

  /** The function between two conversions. */
  private interface Inner {
    Object call(Object input) throws Throwable;
  }

  private static byte[] converted(byte[] input, Type inputType, Type outputType, Inner function) throws Throwable {
    Object value;
    try {
      value = inputType == null ? null : Beans.read(input.length == 0 ? null : Json.read(input), inputType);
    } catch (RuntimeException e) {
      throw new RuntimeException("An error occurred during JSON parsing", e);
    }
    Object answer = function.call(value);
    if (outputType == void.class || outputType == Void.class) {
      return NULL;
    }
    try {
      return Json.write(Beans.write(answer));
    } catch (RuntimeException e) {
      throw new RuntimeException("An error occurred during JSON serialization of response", e);
    }
  }

  private static Object invoke(Method method, Object target, Object... arguments) throws Throwable {
    try {
      return method.invoke(target, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause() == null ? e : e.getCause();
    }
  }

  private static Object instance(Class<?> type) throws Failure {
    try {
      Constructor<?> constructor = type.getConstructor();
      constructor.trySetAccessible();
      return constructor.newInstance();
    } catch (NoSuchMethodException e) {
      boolean inner = type.getEnclosingClass() != null && !Modifier.isStatic(type.getModifiers());
      String problem = inner ? " cannot be instantiated because it is a non-static inner class"
          : " has no public zero-argument constructor";
      throw Failure.loading("Class " + type.getName() + problem, new Exception(e), false);
    } catch (InvocationTargetException e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw Failure.loading(Failure.message(cause), cause, true);
    } catch (ReflectiveOperationException e) {
      throw Failure.loading(Failure.message(e), e, false);
    }
  }
}
