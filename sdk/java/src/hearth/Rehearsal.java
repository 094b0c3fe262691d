package hearth;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Map;

/** A function for nobody: with it the machine is warmed up. */
public final class Rehearsal implements RequestHandler<Map<String, Object>, Map<String, Object>> {
  @Override
  public Map<String, Object> handleRequest(Map<String, Object> event, Context context) {
    context.getRemainingTimeInMillis();
    return event;
  }

  /** The same with bytes. */
  public static void streams(InputStream input, OutputStream output) throws IOException {
    input.transferTo(output);
  }
}
