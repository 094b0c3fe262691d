//! From a function's answer to an HTTP response.

use std::io;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use hearth_domain::FunctionResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use tracing::debug;

use crate::errors::ApiError;
use crate::function_url::{Cors, HTTP_INTEGRATION, Prelude, PreludeReader, UrlAnswer, infer};
use crate::invocation::{Answer, InvocationError, Part, Pieces, Streamed};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// What a caller is told of a function that failed, or of an answer that is no response.
const FAILED: &str = "Internal Server Error";
/// Error types of the platform's own: the stream was cut, it did not end.
const PLATFORM: [&str; 3] = ["Runtime.", "Sandbox.", "Function."];

/// The answer to a question of a browser's.
pub(super) fn preflight(cors: &Cors, request: &HeaderMap) -> Response {
    response(StatusCode::OK, cors.preflight(request), Body::empty())
}

/// A whole answer.
pub(super) fn buffered(answer: Answer) -> Response {
    match answer.response {
        FunctionResponse::Success(document) => match infer(&document) {
            Ok(UrlAnswer { status, headers, body }) => response(status, headers, Body::from(body)),
            Err(malformed) => {
                debug!(%malformed, "502");
                failed()
            }
        },
        FunctionResponse::Error(_) => failed(),
    }
}

/// An answer as it comes. Status and headers are known when the function has said them: in a prelude, or not at all.
pub(super) async fn streamed(answer: Streamed) -> Result<Response, ApiError> {
    let mut pieces = match answer {
        Streamed::Whole(Answer { response: FunctionResponse::Success(document), .. }) => {
            return Ok(response(StatusCode::OK, typed(JSON), Body::from(document)));
        }
        Streamed::Whole(_) => return Ok(failed()),
        Streamed::Pieces(pieces) => pieces,
    };
    if pieces.content_type != HTTP_INTEGRATION {
        let content_type = HeaderValue::from_str(&pieces.content_type).ok().filter(|value| !value.is_empty());
        return Ok(response(StatusCode::OK, typed(content_type.unwrap_or(BYTES)), passed_on(Bytes::new(), pieces)));
    }
    let mut reader = PreludeReader::default();
    loop {
        match pieces.next().await {
            Part::Chunk(data) => match reader.take(data) {
                Ok(None) => {}
                Ok(Some((Prelude { status, headers }, first))) => {
                    return Ok(response(status, headers, passed_on(first, pieces)));
                }
                Err(malformed) => {
                    debug!(%malformed, "502");
                    return Ok(failed());
                }
            },
            Part::End(Ok(_)) => return Ok(failed()),
            Part::End(Err(failure)) => return Err(failure.into()),
        }
    }
}

/// A body of these bytes and all pieces that come. One that the platform cut ends the connection, so that nobody takes
/// it for whole; what the function itself ended early ends as the function ended it.
fn passed_on(first: Bytes, pieces: Pieces) -> Body {
    let first = (!first.is_empty()).then_some(first);
    Body::from_stream(stream::unfold((first, Some(pieces)), |(first, pieces)| async {
        if let Some(first) = first {
            return Some((Ok(first), (None, pieces)));
        }
        let mut pieces = pieces?;
        match pieces.next().await {
            Part::Chunk(data) => Some((Ok(data), (None, Some(pieces)))),
            Part::End(outcome) => cut(outcome).map(|error| (Err(error), (None, None))),
        }
    }))
}

fn cut(outcome: Result<Answer, InvocationError>) -> Option<io::Error> {
    match outcome {
        Err(failure) => Some(io::Error::other(failure)),
        Ok(Answer { response: FunctionResponse::Error(error), .. })
            if PLATFORM.iter().any(|prefix| error.error_type.starts_with(prefix)) =>
        {
            Some(io::Error::other(error.error_type))
        }
        Ok(_) => None,
    }
}

fn failed() -> Response {
    response(StatusCode::BAD_GATEWAY, typed(JSON), Body::from(FAILED))
}

fn typed(content_type: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, content_type)])
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
