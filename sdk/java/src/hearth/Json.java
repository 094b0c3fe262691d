package hearth;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON (RFC 8259) to and from plain values: maps, lists, text, booleans, null, and numbers as the smallest of
 * {@link Integer}, {@link Long} and {@link BigInteger} that holds them, or {@link Double}.
 */
final class Json {
  /** Deeper nesting than anybody's, shallower than the stack. */
  private static final int DEPTH_MAX = 1000;

  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  /** The value that UTF-8 {@code bytes} stand for. */
  static Object read(byte[] bytes) {
    Json json = new Json(new String(bytes, StandardCharsets.UTF_8));
    Object value = json.value(0);
    json.space();
    if (json.at < json.text.length()) {
      throw json.wrong("something after the end");
    }
    return value;
  }

  /** Plain values as UTF-8 JSON. */
  static byte[] write(Object value) {
    StringBuilder out = new StringBuilder();
    write(value, out);
    return out.toString().getBytes(StandardCharsets.UTF_8);
  }

  private Object value(int depth) {
    space();
    if (depth > DEPTH_MAX) {
      throw wrong("nested too deeply");
    }
    char first = at < text.length() ? text.charAt(at) : 0;
    return switch (first) {
      case '{' -> object(depth);
      case '[' -> array(depth);
      case '"' -> string();
      case 't' -> word("true", true);
      case 'f' -> word("false", false);
      case 'n' -> word("null", null);
      default -> number();
    };
  }

  private Map<String, Object> object(int depth) {
    Map<String, Object> object = new LinkedHashMap<>();
    at++;
    if (next('}')) {
      return object;
    }
    do {
      space();
      String name = string();
      expect(':');
      object.put(name, value(depth + 1));
    } while (next(','));
    expect('}');
    return object;
  }

  private List<Object> array(int depth) {
    List<Object> array = new ArrayList<>();
    at++;
    if (next(']')) {
      return array;
    }
    do {
      array.add(value(depth + 1));
    } while (next(','));
    expect(']');
    return array;
  }

  private String string() {
    if (at >= text.length() || text.charAt(at) != '"') {
      throw wrong("expected text");
    }
    int from = ++at;
    int end = text.indexOf('"', from);
    int escape = text.indexOf('\\', from);
    if (end >= 0 && (escape < 0 || escape > end)) {
      at = end + 1;
      return text.substring(from, end);
    }
    StringBuilder string = new StringBuilder();
    while (at < text.length()) {
      char letter = text.charAt(at++);
      if (letter == '"') {
        return string.toString();
      }
      string.append(letter == '\\' ? escaped() : letter);
    }
    throw wrong("text without an end");
  }

  private char escaped() {
    char letter = at < text.length() ? text.charAt(at++) : 0;
    return switch (letter) {
      case '"', '\\', '/' -> letter;
      case 'b' -> '\b';
      case 'f' -> '\f';
      case 'n' -> '\n';
      case 'r' -> '\r';
      case 't' -> '\t';
      case 'u' -> {
        if (at + 4 > text.length()) {
          throw wrong("an escape without an end");
        }
        at += 4;
        yield (char) Integer.parseInt(text, at - 4, at, 16);
      }
      default -> throw wrong("an unknown escape");
    };
  }

  private Object word(String word, Object value) {
    if (!text.startsWith(word, at)) {
      throw wrong("expected " + word);
    }
    at += word.length();
    return value;
  }

  private Object number() {
    int from = at;
    boolean whole = true;
    for (; at < text.length(); at++) {
      char letter = text.charAt(at);
      if (letter == '.' || letter == 'e' || letter == 'E') {
        whole = false;
      } else if ((letter < '0' || letter > '9') && letter != '-' && letter != '+') {
        break;
      }
    }
    String digits = text.substring(from, at);
    try {
      if (!whole) {
        return Double.valueOf(digits);
      }
      BigInteger number = digits.length() < 19 ? null : new BigInteger(digits);
      if (number != null && number.bitLength() > 63) {
        return number;
      }
      long small = Long.parseLong(digits);
      return small == (int) small ? (Object) (int) small : (Object) small;
    } catch (NumberFormatException e) {
      at = from;
      throw wrong("expected a value");
    }
  }

  private void space() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private boolean next(char wanted) {
    space();
    boolean found = at < text.length() && text.charAt(at) == wanted;
    at += found ? 1 : 0;
    return found;
  }

  private void expect(char wanted) {
    if (!next(wanted)) {
      throw wrong("expected '" + wanted + "'");
    }
  }

  private IllegalArgumentException wrong(String problem) {
    return new IllegalArgumentException("JSON: " + problem + " at character " + at);
  }

  private static void write(Object value, StringBuilder out) {
    if (value instanceof Map<?, ?> map) {
      out.append('{');
      String separator = "";
      for (Map.Entry<?, ?> entry : map.entrySet()) {
        out.append(separator);
        string(String.valueOf(entry.getKey()), out);
        write(entry.getValue(), out.append(':'));
        separator = ",";
      }
      out.append('}');
    } else if (value instanceof List<?> list) {
      out.append('[');
      String separator = "";
      for (Object element : list) {
        write(element, out.append(separator));
        separator = ",";
      }
      out.append(']');
    } else if (value instanceof Number number && !isFinite(number)) {
      string(number.toString(), out);
    } else if (value == null || value instanceof Boolean || value instanceof Number) {
      out.append(value);
    } else {
      string(value.toString(), out);
    }
  }

  private static boolean isFinite(Number number) {
    return number instanceof BigDecimal || Double.isFinite(number.doubleValue()) || number instanceof BigInteger;
  }

  private static void string(String string, StringBuilder out) {
    out.append('"');
    for (int i = 0; i < string.length(); i++) {
      char letter = string.charAt(i);
      switch (letter) {
        case '"', '\\' -> out.append('\\').append(letter);
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        default -> {
          boolean alone = Character.isSurrogate(letter) && !isPair(string, i);
          if (letter < ' ' || alone) {
            out.append("\\u").append(Integer.toHexString(0x10000 | letter), 1, 5);
          } else {
            out.append(letter);
          }
        }
      }
    }
    out.append('"');
  }

  private static boolean isPair(String string, int i) {
    boolean first = i + 1 < string.length() && Character.isSurrogatePair(string.charAt(i), string.charAt(i + 1));
    return first || i > 0 && Character.isSurrogatePair(string.charAt(i - 1), string.charAt(i));
  }

}
