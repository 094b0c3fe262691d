//! Function URLs: requests become JSON that says what was asked, answers become responses, however they are cut.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hearth_domain::RequestId;
use http::{HeaderName, HeaderValue, Request};
use serde_json::Value;

use super::lines;
use crate::function_url::{PreludeReader, UrlRequest, event, infer, url_id_of};

/// Lines: path and query, a name and a value of a header; then a body, which is also taken for a function's answer.
pub fn urls(data: &[u8]) {
    let ([target, name, value], body) = lines(data);
    let _ = url_id_of(&value);
    asked(&target, &name, &value, body.as_bytes());
    let answer = Bytes::from(body);
    let _ = infer(&answer);
    cut(&answer);
}

fn asked(target: &str, name: &str, value: &str, body: &[u8]) {
    let Ok(request) = Request::builder().uri(format!("/{target}")).header("host", "h").body(()) else { return };
    let (mut parts, ()) = request.into_parts();
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes())) {
        parts.headers.append(name, value);
    }
    let Ok(request_id) = "00000000-0000-4000-8000-000000000000".parse::<RequestId>() else { return };
    let event = event(&UrlRequest {
        parts: &parts,
        body,
        url_id: "id",
        source: None,
        request_id: &request_id,
        trace_id: "Root=1",
        unix_ms: 1_700_000_000_000,
        caller: None,
    });
    let event: Value = serde_json::from_slice(&event).unwrap_or_else(|error| panic!("no JSON: {error}"));
    assert_eq!(event["rawPath"], parts.uri.path());
    assert_eq!(event["rawQueryString"], parts.uri.query().unwrap_or_default());
    let text = event["body"].as_str().unwrap_or_default();
    let given = if event["isBase64Encoded"] == true { STANDARD.decode(text).unwrap_or_default() } else { text.into() };
    assert_eq!(given, body, "the body as it came");
}

/// A prelude that is found in one piece is found in two.
fn cut(answer: &Bytes) {
    let whole = PreludeReader::default().take(answer.clone());
    let middle = answer.len() / 2;
    let mut reader = PreludeReader::default();
    let first = reader.take(answer.slice(..middle));
    let Ok(None) = first else { return };
    let second = reader.take(answer.slice(middle..));
    assert_eq!(whole, second);
}
