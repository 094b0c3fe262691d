package hearth;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * What Java can't do of its own process, in libhearth-java.so: change its environment and its working directory, which
 * a process has from its start, and here gets when the function is known. Java reads the environment once, when it is
 * first asked for: nobody may ask before {@link #become}.
 */
final class Native {
  private Native() {}

  /** Loads the library from beside this class's archive. */
  static void load() {
    File archive = new File(Native.class.getProtectionDomain().getCodeSource().getLocation().getPath());
    System.load(new File(archive.getParentFile(), "libhearth-java.so").getAbsolutePath());
  }

  /** Makes {@code variables} the environment, and {@code directory} the working directory. */
  static void become(Map<?, ?> variables, String directory) {
    StringBuilder all = new StringBuilder();
    variables.forEach((name, value) -> all.append(name).append('=').append(value).append('\0'));
    byte[] place = (directory + '\0').getBytes(StandardCharsets.UTF_8);
    if (!become(all.toString().getBytes(StandardCharsets.UTF_8), place)) {
      throw new IllegalStateException("can't enter " + directory);
    }
    System.setProperty("user.dir", directory);
  }

  /** Gives {@code ThreadLocalRandom} another seed than its copies in other sandboxes have. */
  static native void reseed(long seed);

  /** Gives one variable another value, after Java has read the environment. */
  static void change(String name, String value) {
    change(System.getenv(), name, value);
  }

  /** {@code environment} is the one that Java has, which it lets nobody change. */
  private static native void change(Map<String, String> environment, String name, String value);

  /** Writes {@code ready} to the socket, if it is not empty, reads to the socket's end, and closes it. */
  static native byte[] talk(int socket, byte[] ready);

  /** {@code variables} are texts that end in a zero byte, each; so is {@code directory}. */
  private static native boolean become(byte[] variables, byte[] directory);
}
