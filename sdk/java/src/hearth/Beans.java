package hearth;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * Between {@link Json}'s plain values and the types of handlers: text, numbers, enumerations, collections, maps, arrays,
 * records, beans (setters and getters, public fields) and whatever can be made of one text. As on AWS: members that
 * nothing stands for are passed over, an unknown enumeration value is null, and members that are null are not written.
 */
final class Beans {
  private Beans() {}

  /** {@code value} as a {@code type}. */
  static Object read(Object value, Type type) {
    if (type instanceof Class<?> wanted) {
      return wanted.isArray() ? array(value, wanted.getComponentType()) : single(value, wanted);
    }
    if (type instanceof ParameterizedType parameterized) {
      return generic(value, (Class<?>) parameterized.getRawType(), parameterized.getActualTypeArguments());
    }
    if (type instanceof GenericArrayType array) {
      return array(value, array.getGenericComponentType());
    }
    if (type instanceof WildcardType wildcard) {
      return read(value, wildcard.getUpperBounds()[0]);
    }
    return read(value, ((TypeVariable<?>) type).getBounds()[0]);
  }

  /** {@code value} as plain values. */
  static Object write(Object value) {
    if (value == null || value instanceof String || value instanceof Boolean || value instanceof Number) {
      return value;
    }
    if (value instanceof Map<?, ?> map) {
      Map<String, Object> written = new LinkedHashMap<>();
      map.forEach((name, member) -> put(written, String.valueOf(name), member));
      return written;
    }
    if (value instanceof Iterable<?> elements && !(value instanceof java.nio.file.Path)) {
      List<Object> written = new ArrayList<>();
      elements.forEach(element -> written.add(write(element)));
      return written;
    }
    if (value instanceof byte[] bytes) {
      return Base64.getEncoder().encodeToString(bytes);
    }
    if (value instanceof char[] letters) {
      return new String(letters);
    }
    if (value.getClass().isArray()) {
      List<Object> written = new ArrayList<>();
      for (int i = 0; i < Array.getLength(value); i++) {
        written.add(write(Array.get(value, i)));
      }
      return written;
    }
    return writeOther(value);
  }

  private static Object writeOther(Object value) {
    if (value instanceof Enum<?> constant) {
      return constant.name();
    }
    if (value instanceof Optional<?> optional) {
      return write(optional.orElse(null));
    }
    if (value instanceof Date date) {
      return date.getTime();
    }
    Class<?> type = value.getClass();
    if (type.getName().startsWith("java.")) {
      return value.toString();
    }
    Map<String, Object> written = new LinkedHashMap<>();
    if (type.isRecord()) {
      for (RecordComponent component : type.getRecordComponents()) {
        put(written, component.getName(), call(accessible(component.getAccessor()), value));
      }
      return written;
    }
    for (Field field : type.getFields()) {
      if (!Modifier.isStatic(field.getModifiers())) {
        put(written, field.getName(), attempt(() -> accessible(field).get(value)));
      }
    }
    for (Method method : type.getMethods()) {
      String name = getter(method);
      if (name != null) {
        put(written, name, call(accessible(method), value));
      }
    }
    return written;
  }

  private static void put(Map<String, Object> written, String name, Object member) {
    if (member != null) {
      written.put(name, write(member));
    }
  }

  private static String getter(Method method) {
    String name = method.getName();
    boolean other = Modifier.isStatic(method.getModifiers()) || method.getParameterCount() > 0 || method.isBridge();
    if (other || method.getDeclaringClass() == Object.class || method.getReturnType() == void.class) {
      return null;
    }
    if (name.length() > 3 && name.startsWith("get")) {
      return property(name.substring(3));
    }
    boolean truth = method.getReturnType() == boolean.class || method.getReturnType() == Boolean.class;
    return truth && name.length() > 2 && name.startsWith("is") ? property(name.substring(2)) : null;
  }

  /** A property's name by the rules of JavaBeans: {@code URL} stays, {@code Name} becomes {@code name}. */
  private static String property(String name) {
    boolean acronym = name.length() > 1 && Character.isUpperCase(name.charAt(0)) && Character.isUpperCase(name.charAt(1));
    return acronym ? name : Character.toLowerCase(name.charAt(0)) + name.substring(1);
  }

  private static Object generic(Object value, Class<?> raw, Type[] arguments) {
    if (raw == Optional.class) {
      return Optional.ofNullable(read(value, arguments[0]));
    }
    if (value != null && Map.class.isAssignableFrom(raw)) {
      return map(value, raw, arguments[0], arguments[1]);
    }
    if (value != null && (Iterable.class == raw || Collection.class.isAssignableFrom(raw))) {
      return collection(value, raw, arguments[0]);
    }
    return single(value, raw);
  }

  private static Object map(Object value, Class<?> raw, Type keys, Type members) {
    Map<Object, Object> map = instance(raw, LinkedHashMap.class, TreeMap.class);
    object(value, raw).forEach((name, member) -> map.put(read(name, keys), read(member, members)));
    return map;
  }

  private static Object collection(Object value, Class<?> raw, Type elements) {
    Class<?> fallback = Set.class.isAssignableFrom(raw) ? LinkedHashSet.class : ArrayList.class;
    Collection<Object> collection = instance(raw, fallback, java.util.ArrayDeque.class);
    list(value).forEach(element -> collection.add(read(element, elements)));
    return collection;
  }

  /** A new one of {@code raw} or, if that is only an interface, of the first class that is one. */
  @SuppressWarnings("unchecked")
  private static <T> T instance(Class<?> raw, Class<?>... choices) {
    if (!raw.isInterface() && !Modifier.isAbstract(raw.getModifiers())) {
      return (T) make(raw);
    }
    for (Class<?> choice : choices) {
      if (raw.isAssignableFrom(choice)) {
        return (T) make(choice);
      }
    }
    throw new IllegalArgumentException("no value can be made for " + raw.getName());
  }

  private static Object array(Object value, Type component) {
    if (value == null) {
      return null;
    }
    if (component == byte.class && value instanceof String text) {
      return Base64.getDecoder().decode(text);
    }
    if (component == char.class && value instanceof String text) {
      return text.toCharArray();
    }
    List<?> elements = list(value);
    Class<?> raw = component instanceof Class<?> plain ? plain : raw(component);
    Object array = Array.newInstance(raw, elements.size());
    for (int i = 0; i < elements.size(); i++) {
      Array.set(array, i, read(elements.get(i), component));
    }
    return array;
  }

  private static Class<?> raw(Type type) {
    return type instanceof ParameterizedType parameterized ? (Class<?>) parameterized.getRawType() : Object.class;
  }

  private static List<?> list(Object value) {
    // One value is as good as a list of one.
    return value instanceof List<?> list ? list : List.of(value);
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> object(Object value, Class<?> type) {
    if (value instanceof Map<?, ?> map) {
      return (Map<String, Object>) map;
    }
    throw new IllegalArgumentException("Cannot make a value of type " + type.getName() + " from " + kind(value));
  }

  private static String kind(Object value) {
    return value instanceof List ? "an array" : value instanceof String ? "text" : String.valueOf(value);
  }

  private static Object single(Object value, Class<?> type) {
    if (type.isPrimitive()) {
      return primitive(value == null ? zero(type) : value, type);
    }
    if (value == null || value instanceof String text && text.isEmpty() && !type.isAssignableFrom(String.class)) {
      return null;
    }
    if (type.isInstance(value)) {
      return value;
    }
    if (type == String.class) {
      if (value instanceof Map || value instanceof List) {
        throw new IllegalArgumentException("Cannot make a value of type java.lang.String from " + kind(value));
      }
      return value.toString();
    }
    if (Number.class.isAssignableFrom(type) || type == Boolean.class || type == Character.class) {
      return primitive(value, type);
    }
    if (type.isEnum()) {
      return constant(value, type);
    }
    if (Map.class.isAssignableFrom(type)) {
      return map(value, type, Object.class, Object.class);
    }
    if (Iterable.class == type || Collection.class.isAssignableFrom(type)) {
      return collection(value, type, Object.class);
    }
    if (type == Date.class && value instanceof Number number) {
      return new Date(number.longValue());
    }
    return value instanceof Map ? bean(object(value, type), type) : ofText(value, type);
  }

  private static Object zero(Class<?> type) {
    return type == boolean.class ? (Object) false : type == char.class ? (Object) "\0" : (Object) 0;
  }

  private static Object primitive(Object value, Class<?> type) {
    if (type == boolean.class || type == Boolean.class) {
      return value instanceof Boolean truth ? truth : parsed(Boolean.class, value);
    }
    if (type == char.class || type == Character.class) {
      return value.toString().charAt(0);
    }
    BigDecimal number = parsed(BigDecimal.class, value);
    return switch (type.getSimpleName()) {
      case "int", "Integer" -> whole(number).intValueExact();
      case "long", "Long" -> whole(number).longValueExact();
      case "short", "Short" -> whole(number).shortValueExact();
      case "byte", "Byte" -> whole(number).byteValueExact();
      case "float", "Float" -> number.floatValue();
      case "double", "Double" -> number.doubleValue();
      case "BigInteger" -> whole(number);
      default -> type.isInstance(number) ? number : ofText(value, type);
    };
  }

  private static BigInteger whole(BigDecimal number) {
    return number.toBigInteger();
  }

  private static <T> T parsed(Class<T> type, Object value) {
    if (value instanceof Boolean || value instanceof Map || value instanceof List) {
      throw new IllegalArgumentException("Cannot make a value of type " + type.getName() + " from " + kind(value));
    }
    String text = value.toString();
    return type.cast(type == Boolean.class ? Boolean.valueOf(text) : new BigDecimal(text));
  }

  private static Object constant(Object value, Class<?> type) {
    for (Object constant : type.getEnumConstants()) {
      if (((Enum<?>) constant).name().equals(value.toString())) {
        return constant;
      }
    }
    return null;
  }

  private static Object bean(Map<String, Object> members, Class<?> type) {
    if (type.isRecord()) {
      return record(members, type);
    }
    Object bean = make(type);
    Map<String, Executable> setters = new LinkedHashMap<>();
    for (Method method : type.getMethods()) {
      boolean sets = method.getName().startsWith("set") && method.getName().length() > 3;
      if (sets && method.getParameterCount() == 1 && !Modifier.isStatic(method.getModifiers())) {
        setters.put(property(method.getName().substring(3)), method);
      }
    }
    members.forEach(
        (name, member) -> {
          Executable setter = find(setters, name);
          if (setter != null) {
            call(accessible((Method) setter), bean, read(member, setter.getGenericParameterTypes()[0]));
          } else {
            setField(bean, type, name, member);
          }
        });
    return bean;
  }

  /** The member of that name; else, as events of AWS's services need it ({@code Records}), in another case. */
  private static <T> T find(Map<String, T> all, String name) {
    T found = all.get(name);
    if (found != null) {
      return found;
    }
    String lower = name.toLowerCase(Locale.ROOT);
    return all.entrySet().stream()
        .filter(entry -> entry.getKey().toLowerCase(Locale.ROOT).equals(lower))
        .map(Map.Entry::getValue)
        .findFirst()
        .orElse(null);
  }

  private static void setField(Object bean, Class<?> type, String name, Object member) {
    for (Field field : type.getFields()) {
      boolean fixed = Modifier.isStatic(field.getModifiers()) || Modifier.isFinal(field.getModifiers());
      if (field.getName().equals(name) && !fixed) {
        Object value = read(member, field.getGenericType());
        attempt(
            () -> {
              accessible(field).set(bean, value);
              return null;
            });
      }
    }
  }

  private static Object record(Map<String, Object> members, Class<?> type) {
    RecordComponent[] components = type.getRecordComponents();
    Class<?>[] types = new Class<?>[components.length];
    Object[] values = new Object[components.length];
    for (int i = 0; i < components.length; i++) {
      types[i] = components[i].getType();
      values[i] = read(members.get(components[i].getName()), components[i].getGenericType());
    }
    return attempt(() -> accessible(type.getDeclaredConstructor(types)).newInstance(values));
  }

  /** By a public static {@code parse}, or a public constructor, of one text: times, addresses, paths and the like. */
  private static Object ofText(Object value, Class<?> type) {
    for (Class<?> parameter : List.of(String.class, CharSequence.class)) {
      try {
        Method parse = type.getMethod("parse", parameter);
        if (Modifier.isStatic(parse.getModifiers())) {
          return call(parse, null, value.toString());
        }
      } catch (NoSuchMethodException e) {
        // The next one, then.
      }
    }
    try {
      Constructor<?> constructor = type.getConstructor(String.class);
      return attempt(() -> constructor.newInstance(value.toString()));
    } catch (NoSuchMethodException e) {
      throw new IllegalArgumentException("Cannot make a value of type " + type.getName() + " from " + kind(value));
    }
  }

  private static Object make(Class<?> type) {
    return attempt(() -> accessible(type.getDeclaredConstructor()).newInstance());
  }

  private static Object call(Method method, Object target, Object... arguments) {
    return attempt(() -> method.invoke(target, arguments));
  }

  private static <T extends java.lang.reflect.AccessibleObject> T accessible(T member) {
    member.trySetAccessible();
    return member;
  }

  /** Something with reflection. */
  private interface Attempt {
    Object run() throws ReflectiveOperationException;
  }

  private static Object attempt(Attempt attempt) {
    try {
      return attempt.run();
    } catch (InvocationTargetException e) {
      throw new IllegalArgumentException(e.getCause());
    } catch (ReflectiveOperationException e) {
      throw new IllegalArgumentException(e);
    }
  }
}
