//! From what a function answered to an HTTP response.
//!
//! An object with a `statusCode` says what the response is; anything else is the body of a 200
//! (developer guide, "Response payload format"). Texts are given without their quotes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::prelude::{Prelude, PreludeReader};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What belongs to the connection, not to the function.
const NOT_PASSED_ON: [&str; 8] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// A response, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlAnswer {
    /// Its status, from 200.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// An answer that says it is a response and is none: 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the function's answer is no response: {fault}")]
pub struct MalformedAnswer {
    /// What is wrong.
    pub fault: &'static str,
}

/// The response that an answer stands for.
pub fn infer(answer: &Bytes) -> Result<UrlAnswer, MalformedAnswer> {
    match serde_json::from_slice(answer) {
        Ok(Value::Object(members)) if members.contains_key("statusCode") => structured(&members),
        Ok(Value::String(text)) => Ok(plain(text.into())),
        Ok(_) => Ok(plain(compact(answer))),
        Err(_) => streamed_whole(answer),
    }
}

/// A document without the white space between its parts, as AWS passes it on (LocalStack's recordings,
/// test_lambda_url_invocation: what Python wrote as `["hello", 3, true]` comes as 16 bytes).
fn compact(document: &Bytes) -> Bytes {
    let (mut within_string, mut escaped) = (false, false);
    let kept = |byte: &u8| {
        let space = !within_string && matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        within_string ^= *byte == b'"' && !escaped;
        escaped = within_string && !escaped && *byte == b'\\';
        !space
    };
    document.iter().copied().filter(kept).collect()
}

fn plain(body: Bytes) -> UrlAnswer {
    UrlAnswer { status: StatusCode::OK, headers: HeaderMap::from_iter([(CONTENT_TYPE, JSON)]), body }
}

/// No JSON: a function that streams wrote it, and it was collected. It may begin with a prelude.
fn streamed_whole(answer: &Bytes) -> Result<UrlAnswer, MalformedAnswer> {
    let mut reader = PreludeReader::default();
    match reader.take(answer.clone()) {
        Ok(Some((Prelude { status, headers }, body))) => Ok(UrlAnswer { status, headers, body }),
        Ok(None) | Err(_) => Ok(plain(answer.clone())),
    }
}

fn structured(members: &Map<String, Value>) -> Result<UrlAnswer, MalformedAnswer> {
    let (status, headers) = head(members)?;
    Ok(UrlAnswer { status, headers, body: body(members)? })
}

/// Status and headers of an answer or of a prelude.
pub(super) fn head(members: &Map<String, Value>) -> Result<(StatusCode, HeaderMap), MalformedAnswer> {
    let malformed = |fault| MalformedAnswer { fault };
    let status = match members.get("statusCode") {
        None | Some(Value::Null) => Some(200),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let status = status.and_then(|status| u16::try_from(status).ok()).filter(|status| (200..600).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or(malformed("statusCode"))?;
    let mut headers = HeaderMap::new();
    match members.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, value) in given {
                let name: HeaderName = name.parse().map_err(|_| malformed("the name of a header"))?;
                let value = header_value(value).ok_or(malformed("the value of a header"))?;
                if !NOT_PASSED_ON.contains(&name.as_str()) {
                    headers.insert(name, value);
                }
            }
        }
        Some(_) => return Err(malformed("headers")),
    }
    match members.get("cookies") {
        None | Some(Value::Null) => {}
        Some(Value::Array(cookies)) => {
            for cookie in cookies {
                let cookie = cookie.as_str().and_then(|cookie| HeaderValue::from_str(cookie).ok());
                headers.append(SET_COOKIE, cookie.ok_or(malformed("a cookie"))?);
            }
        }
        Some(_) => return Err(malformed("cookies")),
    }
    headers.entry(CONTENT_TYPE).or_insert(JSON);
    Ok((status, headers))
}

fn header_value(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => HeaderValue::from_str(text).ok(),
        Value::Number(_) | Value::Bool(_) => HeaderValue::from_str(&value.to_string()).ok(),
        _ => None,
    }
}

fn body(members: &Map<String, Value>) -> Result<Bytes, MalformedAnswer> {
    let encoded = match members.get("isBase64Encoded") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => return Err(MalformedAnswer { fault: "isBase64Encoded" }),
    };
    match members.get("body") {
        None | Some(Value::Null) => Ok(Bytes::new()),
        Some(Value::String(text)) if encoded => {
            STANDARD.decode(text).map(Bytes::from).map_err(|_| MalformedAnswer { fault: "a body that is not base64" })
        }
        Some(Value::String(text)) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some(_) if encoded => Err(MalformedAnswer { fault: "a body that is not base64" }),
        Some(other) => Ok(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn inferred(answer: Value) -> UrlAnswer {
        infer(&answer.to_string().into()).unwrap()
    }

    fn header<'a>(answer: &'a UrlAnswer, name: &str) -> Vec<&'a str> {
        answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn what_has_no_status_is_a_body() {
        for (answer, body) in [
            (json!("Hello, world!"), "Hello, world!"),
            (json!({"message": "Hello"}), r#"{"message":"Hello"}"#),
            (json!([1, 2]), "[1,2]"),
            (json!(null), "null"),
            (json!({"body": "b"}), r#"{"body":"b"}"#),
        ] {
            let answer = inferred(answer);
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, body.as_bytes()));
            assert_eq!(header(&answer, "content-type"), ["application/json"]);
        }
    }

    #[test]
    fn a_document_is_given_without_space_between_its_parts() {
        for (answer, body) in [
            (r#"["hello", 3, true]"#, r#"["hello",3,true]"#),
            ("{\"hello\" :\t\"w o\\\" \\\\\" ,\r\n \"n\": 1.50}\n", r#"{"hello":"w o\" \\","n":1.50}"#),
            (" 3.1 ", "3.1"),
        ] {
            assert_eq!(infer(&Bytes::from_static(answer.as_bytes())).unwrap().body, body);
        }
    }

    #[test]
    fn what_has_a_status_is_a_response() {
        let answer = inferred(json!({
            "statusCode": 201,
            "headers": { "Content-Type": "text/html", "X-Number": 5, "Connection": "close", "Content-Length": 1 },
            "body": "<p>",
            "cookies": ["a=1; Expires=Wed, 21 Oct 2026 07:28 GMT", "b=2"],
            "isBase64Encoded": false,
        }));
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (201, &b"<p>"[..]));
        assert_eq!(header(&answer, "content-type"), ["text/html"]);
        assert_eq!(header(&answer, "x-number"), ["5"]);
        assert_eq!(header(&answer, "set-cookie"), ["a=1; Expires=Wed, 21 Oct 2026 07:28 GMT", "b=2"]);
        assert!(header(&answer, "connection").is_empty() && header(&answer, "content-length").is_empty());
        let answer = inferred(json!({ "statusCode": "404", "body": "AP8=", "isBase64Encoded": true }));
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (404, &[0, 255][..]));
        assert_eq!(inferred(json!({ "statusCode": 204 })).body, "");
        assert_eq!(inferred(json!({ "statusCode": 200, "body": { "a": 1 } })).body, r#"{"a":1}"#);
    }

    #[test]
    fn what_only_claims_to_be_one_is_refused() {
        for answer in [
            json!({ "statusCode": 99 }),
            json!({ "statusCode": 600 }),
            json!({ "statusCode": "ok" }),
            json!({ "statusCode": [] }),
            json!({ "statusCode": 200, "headers": [] }),
            json!({ "statusCode": 200, "headers": { "a b": "c" } }),
            json!({ "statusCode": 200, "headers": { "a": "b\nc" } }),
            json!({ "statusCode": 200, "headers": { "a": ["b"] } }),
            json!({ "statusCode": 200, "cookies": "a=b" }),
            json!({ "statusCode": 200, "body": "%", "isBase64Encoded": true }),
            json!({ "statusCode": 200, "isBase64Encoded": "yes" }),
        ] {
            assert!(infer(&answer.to_string().into()).is_err(), "{answer}");
        }
    }

    #[test]
    fn what_was_streamed_and_collected_is_given_as_it_is() {
        let answer = infer(&Bytes::from_static(b"no json")).unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"no json"[..]));
        let with_prelude = b"{\"statusCode\":418,\"headers\":{\"X-A\":\"b\"}}\0\0\0\0\0\0\0\0tea";
        let answer = infer(&Bytes::from_static(with_prelude)).unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (418, &b"tea"[..]));
        assert_eq!(header(&answer, "x-a"), ["b"]);
    }

    proptest! {
        #[test]
        fn no_answer_breaks_it(answer in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = infer(&answer.into());
        }

        #[test]
        fn a_document_stays_the_same_document(keys in prop::collection::vec("[ \"\\\\a\t\n]{0,6}", 0..5), numbers in prop::collection::vec(any::<i32>(), 0..5)) {
            let document = json!([keys, numbers, { "nested": keys }]);
            let body = infer(&serde_json::to_vec_pretty(&document).unwrap().into()).unwrap().body;
            prop_assert_eq!(body, document.to_string());
        }

        #[test]
        fn bodies_come_out_as_they_were_put_in(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let answer = json!({ "statusCode": 200, "body": STANDARD.encode(&bytes), "isBase64Encoded": true });
            prop_assert_eq!(&inferred(answer).body[..], &bytes[..]);
        }
    }
}
