package com.amazonaws.services.lambda.runtime;

/** A function of one value to another; JSON is read and written for it. Found if a bundle brings no copy of its own. */
public interface RequestHandler<I, O> {
  O handleRequest(I input, Context context);
}
