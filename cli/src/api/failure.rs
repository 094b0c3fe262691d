//! From what went wrong with a request to what to do about it.

use http::StatusCode;

use super::Reply;
use crate::exit::{Exit, Failure};

/// An error reply, in AWS's shape or not.
pub(super) fn of_reply(reply: &Reply) -> Failure {
    // `x-amzn-errortype: ResourceNotFoundException:http://…` in some AWS replies.
    let kind = reply.header("x-amzn-errortype").and_then(|kind| kind.split(':').next()).unwrap_or("error");
    let document: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let message = ["message", "Message"].iter().find_map(|name| document[name].as_str()).unwrap_or("no message");
    let failure = Failure::new(exit(reply.status), format!("{kind}: {message} (HTTP {})", reply.status.as_u16()));
    match remedy(kind, reply.status) {
        Some(remedy) => failure.remedy(remedy),
        None => failure,
    }
}

fn exit(status: StatusCode) -> Exit {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Denied,
        StatusCode::TOO_MANY_REQUESTS => Exit::Unavailable,
        status if status.is_client_error() => Exit::Refused,
        _ => Exit::Unavailable,
    }
}

fn remedy(kind: &str, status: StatusCode) -> Option<&'static str> {
    Some(match kind {
        "UnrecognizedClientException" => {
            "the access key is not this platform's: unset AWS_ACCESS_KEY_ID, or give --credentials DATA_DIR/credentials"
        }
        "InvalidSignatureException" => {
            "check the secret key, --region and that the clock of this machine is right to five minutes"
        }
        "ResourceNotFoundException" => "`hearth ls` lists what there is",
        "ResourceConflictException" => "another change is under way or the name is taken: try again in a moment",
        "TooManyRequestsException" => "the account's concurrency is used up: try again, or raise --account-concurrency",
        _ if status.is_server_error() => "look at the platform's own log, and try again",
        _ => return None,
    })
}

pub(super) fn unreachable(endpoint: &str, problem: &str) -> Failure {
    Failure::new(Exit::Unavailable, format!("no platform answers at {endpoint}: {problem}"))
        .remedy("start one with `hearth up`, or say where it is with --endpoint URL or HEARTH_ENDPOINT")
}

pub(super) fn bad_endpoint(endpoint: &str) -> Failure {
    Failure::usage(format!("{endpoint:?} is no endpoint")).remedy("write http://host:port")
}

/// An error with what is behind it.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn reply(status: u16, kind: &'static str, body: &'static str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-errortype", http::HeaderValue::from_static(kind));
        Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn replies_become_exit_codes_and_advice() {
        let missing = of_reply(&reply(404, "ResourceNotFoundException", r#"{"Type":"User","Message":"no x"}"#));
        assert_eq!(missing.exit(), Exit::Refused);
        let told = "error: ResourceNotFoundException: no x (HTTP 404)\n  `hearth ls` lists what there is";
        assert_eq!(missing.to_string(), told);
        assert_eq!(of_reply(&reply(403, "UnrecognizedClientException", "{}")).exit(), Exit::Denied);
        assert_eq!(of_reply(&reply(429, "TooManyRequestsException", "{}")).exit(), Exit::Unavailable);
        assert_eq!(of_reply(&reply(503, "x", "<html>")).exit(), Exit::Unavailable);
    }
}
