package hearth;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** A client of the Runtime API over one kept connection. */
final class RuntimeApi {
  private static final String API = "/2018-06-01/runtime";
  private static final int ACCEPTED = 202;
  private static final int TOO_LARGE = 413;
  private static final int HEAD_MAX_BYTES = 1024 * 1024;
  private static final byte[] NOTHING = {};

  private final String address;
  private Socket socket;
  private InputStream input;
  private OutputStream output;
  private byte[] buffer = new byte[64 * 1024];
  private int start;
  private int end;

  /** What the API said. Headers have lower-case names. */
  record Answer(int status, Map<String, String> headers, byte[] body) {
    String header(String name) {
      return headers.get(name);
    }
  }

  RuntimeApi(String address) {
    this.address = address;
  }

  /** Waits for the next invocation. */
  Answer next() throws IOException {
    Answer answer = request("GET", API + "/invocation/next", null, NOTHING);
    return expected(answer, "no next invocation");
  }

  /** Waits for the restore from the snapshot that is taken while this waits. */
  Answer restoreNext() throws IOException {
    return expected(request("GET", API + "/restore/next", null, NOTHING), "no restore");
  }

  /** One round trip for nothing: connects, and makes the next one cheaper. */
  void ping() throws IOException {
    request("GET", "/2018-06-01/ping", null, NOTHING);
  }

  /** Posts the handler's answer. One that is too large has been answered for us by the platform. */
  void respond(String requestId, byte[] body) throws IOException {
    post(API + "/invocation/" + requestId + "/response", "Content-Type: application/json\r\n", body);
  }

  /** Posts the error document of an invocation. */
  void fail(String requestId, Failure failure) throws IOException {
    post(API + "/invocation/" + requestId + "/error", errorHeaders(failure), failure.document());
  }

  /** Posts the error document of an init that failed. */
  void failInit(Failure failure) throws IOException {
    post(API + "/init/error", errorHeaders(failure), failure.document());
  }

  private static String errorHeaders(Failure failure) {
    return "Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: " + failure.header() + "\r\n";
  }

  private static Answer expected(Answer answer, String problem) throws IOException {
    if (answer.status != 200) {
      throw new IOException(problem + ": " + answer.status);
    }
    return answer;
  }

  private void post(String path, String headers, byte[] body) throws IOException {
    int status = request("POST", path, headers, body).status;
    if (status != ACCEPTED && status != TOO_LARGE) {
      throw new IOException(path + " was refused: " + status);
    }
  }

  private Answer request(String method, String path, String headers, byte[] body) throws IOException {
    StringBuilder head = new StringBuilder(256);
    head.append(method).append(' ').append(path).append(" HTTP/1.1\r\nHost: ").append(address).append("\r\n");
    if (headers != null) {
      head.append(headers).append("Content-Length: ").append(body.length).append("\r\n");
    }
    byte[] bytes = head.append("\r\n").toString().getBytes(StandardCharsets.ISO_8859_1);
    connect();
    try {
      byte[] message = new byte[bytes.length + body.length];
      System.arraycopy(bytes, 0, message, 0, bytes.length);
      System.arraycopy(body, 0, message, bytes.length, body.length);
      output.write(message);
      return answer();
    } catch (IOException e) {
      // The connection is in no known state, so whoever asks next gets a new one.
      socket.close();
      socket = null;
      throw e;
    }
  }

  private void connect() throws IOException {
    if (socket != null) {
      return;
    }
    int colon = address.lastIndexOf(':');
    socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
    socket.setTcpNoDelay(true);
    input = socket.getInputStream();
    output = socket.getOutputStream();
    start = 0;
    end = 0;
  }

  private Answer answer() throws IOException {
    String[] lines = head().split("\r\n");
    Map<String, String> headers = new HashMap<>();
    for (int i = 1; i < lines.length; i++) {
      int colon = lines[i].indexOf(':');
      headers.put(lines[i].substring(0, colon).toLowerCase(), lines[i].substring(colon + 1).strip());
    }
    byte[] body = new byte[Integer.parseInt(headers.getOrDefault("content-length", "0"))];
    int have = Math.min(end - start, body.length);
    System.arraycopy(buffer, start, body, 0, have);
    start += have;
    if (input.readNBytes(body, have, body.length - have) < body.length - have) {
      throw closed();
    }
    return new Answer(Integer.parseInt(lines[0].split(" ", 3)[1]), headers, body);
  }

  /** Status line and headers, without the empty line after them; what was read beyond stays in the buffer. */
  private String head() throws IOException {
    for (int seen = start; ; ) {
      for (; seen + 3 < end; seen++) {
        if (buffer[seen] == '\r' && buffer[seen + 1] == '\n' && buffer[seen + 2] == '\r' && buffer[seen + 3] == '\n') {
          // What a caller passed (client context, say) is UTF-8.
          String head = new String(buffer, start, seen - start, StandardCharsets.UTF_8);
          start = seen + 4;
          return head;
        }
      }
      if (end - start > HEAD_MAX_BYTES) {
        throw new IOException("the head of an answer is too large");
      }
      seen -= start;
      makeRoom();
      int length = input.read(buffer, end, buffer.length - end);
      if (length < 0) {
        throw closed();
      }
      end += length;
    }
  }

  private void makeRoom() {
    byte[] larger = end - start == buffer.length ? new byte[buffer.length * 2] : buffer;
    System.arraycopy(buffer, start, larger, 0, end - start);
    buffer = larger;
    end -= start;
    start = 0;
  }

  private static EOFException closed() {
    return new EOFException("the Runtime API closed the connection");
  }
}
