package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;

/** Answers what it was asked, and logs in whose context. */
public class Echo implements RequestHandler<Object, Object> {
  @Override
  public Object handleRequest(Object event, Context context) {
    context.getLogger().log("answering " + context.getAwsRequestId());
    return event;
  }
}
