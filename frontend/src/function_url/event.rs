//! From an HTTP request to the event that the function gets: payload format 2.0.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_domain::RequestId;
use http::header::{CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use http::request::Parts;
use serde::Serialize;

use super::request_time::request_time;
use crate::sigv4::decoded;

const ROUTE: &str = "$default";
/// What a body must be called to come as text; anything else comes in base64.
const TEXT_TYPES: [&str; 4] = ["text", "json", "xml", "javascript"];

/// A request to a URL.
#[derive(Debug, Clone, Copy)]
pub struct UrlRequest<'a> {
    /// Its head.
    pub parts: &'a Parts,
    /// Its body.
    pub body: &'a [u8],
    /// The URL's id.
    pub url_id: &'a str,
    /// Who connected.
    pub source: Option<IpAddr>,
    /// Its id.
    pub request_id: &'a RequestId,
    /// Its trace.
    pub trace_id: &'a str,
    /// When it came, Unix milliseconds.
    pub unix_ms: u64,
    /// Who signed it, if that was asked for.
    pub caller: Option<&'a Caller>,
}

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The access key's id.
    pub access_key: String,
    /// The account.
    pub account: String,
    /// The unique id of the user or role.
    pub id: String,
    /// The ARN of the user or session.
    pub arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<Cow<'a, str>>,
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Authorizer<'a>>,
    domain_name: Cow<'a, str>,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'static str,
    stage: &'static str,
    time: String,
    time_epoch: u64,
}

#[derive(Serialize)]
struct Authorizer<'a> {
    iam: Iam<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Iam<'a> {
    access_key: &'a str,
    account_id: &'a str,
    caller_id: &'a str,
    cognito_identity: Option<()>,
    principal_org_id: Option<()>,
    user_arn: &'a str,
    user_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: &'a str,
    user_agent: Cow<'a, str>,
}

/// The event for a request.
#[must_use]
pub fn event(request: &UrlRequest<'_>) -> Vec<u8> {
    let UrlRequest { parts, url_id, request_id, unix_ms, caller, .. } = *request;
    let source = request.source.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
    let host = parts.headers.get(HOST).map_or(Cow::Borrowed(""), text);
    let (domain_name, port) = split_port(&host);
    let mut headers = headers(parts);
    headers.insert("x-amzn-trace-id", request.trace_id.into());
    headers.entry("x-forwarded-for").or_insert_with(|| source.clone().into());
    headers.entry("x-forwarded-proto").or_insert("http".into());
    headers.entry("x-forwarded-port").or_insert_with(|| port.to_owned().into());
    let (body, is_base64_encoded) = body(request);
    let query = parts.uri.query().unwrap_or_default();
    let authorizer = caller.map(|caller| Authorizer {
        iam: Iam {
            access_key: &caller.access_key,
            account_id: &caller.account,
            caller_id: &caller.id,
            cognito_identity: None,
            principal_org_id: None,
            user_arn: &caller.arn,
            user_id: &caller.id,
        },
    });
    let event = Event {
        version: "2.0",
        route_key: ROUTE,
        raw_path: parts.uri.path(),
        raw_query_string: query,
        cookies: cookies(parts),
        headers,
        query_string_parameters: query_parameters(query),
        request_context: RequestContext {
            account_id: caller.map_or("anonymous", |caller| &caller.account),
            api_id: url_id,
            authorizer,
            domain_name: domain_name.into(),
            domain_prefix: url_id,
            http: Http {
                method: parts.method.as_str(),
                path: parts.uri.path(),
                protocol: protocol(parts),
                source_ip: &source,
                user_agent: parts.headers.get(USER_AGENT).map_or(Cow::Borrowed(""), text),
            },
            request_id: request_id.as_str(),
            route_key: ROUTE,
            stage: ROUTE,
            time: request_time(unix_ms),
            time_epoch: unix_ms,
        },
        body,
        is_base64_encoded,
    };
    // Texts and numbers always make a document.
    serde_json::to_vec(&event).unwrap_or_default()
}

/// Bytes that are no UTF-8 are replaced: JSON has no other way.
fn text(value: &http::HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// All but cookies, which have a member of their own; repeated ones joined by commas.
fn headers(parts: &Parts) -> BTreeMap<&str, Cow<'_, str>> {
    let mut headers: BTreeMap<&str, Cow<'_, str>> = BTreeMap::new();
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != COOKIE) {
        let value = text(value);
        headers
            .entry(name.as_str())
            .and_modify(|before| {
                before.to_mut().push(',');
                before.to_mut().push_str(&value);
            })
            .or_insert(value);
    }
    headers
}

fn cookies(parts: &Parts) -> Vec<Cow<'_, str>> {
    let split = |value: Cow<'_, str>| -> Vec<Cow<'_, str>> {
        value.split(';').map(|cookie| Cow::Owned(cookie.trim().to_owned())).collect()
    };
    let cookies = parts.headers.get_all(COOKIE).iter().flat_map(|value| split(text(value)));
    cookies.filter(|cookie| !cookie.is_empty()).collect()
}

/// Decoded; repeated ones joined by commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = plain(value);
        parameters
            .entry(plain(name))
            .and_modify(|before| {
                before.push(',');
                before.push_str(&value);
            })
            .or_insert(value);
    }
    parameters
}

fn plain(encoded: &str) -> String {
    let spaced = encoded.replace('+', " ");
    String::from_utf8_lossy(&decoded(&spaced)).into_owned()
}

fn body<'a>(request: &UrlRequest<'a>) -> (Option<Cow<'a, str>>, bool) {
    if request.body.is_empty() {
        return (None, false);
    }
    let content_type = request.parts.headers.get(CONTENT_TYPE).map(|value| text(value).to_ascii_lowercase());
    let is_text = content_type.is_some_and(|content_type| TEXT_TYPES.iter().any(|text| content_type.contains(text)));
    match std::str::from_utf8(request.body) {
        Ok(text) if is_text => (Some(text.into()), false),
        _ => (Some(STANDARD.encode(request.body).into()), true),
    }
}

fn split_port(host: &str) -> (String, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) => (name.to_owned(), port),
        None => (host.to_owned(), "80"),
    }
}

fn protocol(parts: &Parts) -> &'static str {
    if parts.version == http::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "abcdefghijklmnopqrstuvwxyz012345";

    fn event_of(request: Request<&[u8]>, caller: Option<&Caller>) -> Value {
        let (parts, body) = request.into_parts();
        let request_id = RequestId::new("r-1").unwrap();
        let request = UrlRequest {
            parts: &parts,
            body,
            url_id: ID,
            source: Some("::ffff:192.0.2.7".parse().unwrap()),
            request_id: &request_id,
            trace_id: "Root=1",
            unix_ms: 1_584_039_838_390,
            caller,
        };
        serde_json::from_slice(&event(&request)).unwrap()
    }

    #[test]
    fn a_request_becomes_format_2() {
        let request = Request::post("/my/path%20x?parameter1=value1&parameter1=value2&parameter2=a+b%2Cc&flag")
            .header("Host", format!("{ID}.lambda-url.us-east-1.localhost:9000"))
            .header("User-Agent", "agent")
            .header("Cookie", "cookie1=a; cookie2=b")
            .header("Cookie", "cookie3=c")
            .header("Header2", "value1")
            .header("Header2", "value2")
            .header("Content-Type", "application/json; charset=utf-8")
            .body(&b"{\"a\":\"\xc3\xbc\"}"[..])
            .unwrap();
        let expected = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/my/path%20x",
            "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=a+b%2Cc&flag",
            "cookies": ["cookie1=a", "cookie2=b", "cookie3=c"],
            "headers": {
                "host": format!("{ID}.lambda-url.us-east-1.localhost:9000"),
                "user-agent": "agent",
                "header2": "value1,value2",
                "content-type": "application/json; charset=utf-8",
                "x-amzn-trace-id": "Root=1",
                "x-forwarded-for": "192.0.2.7",
                "x-forwarded-port": "9000",
                "x-forwarded-proto": "http",
            },
            "queryStringParameters": { "parameter1": "value1,value2", "parameter2": "a b,c", "flag": "" },
            "requestContext": {
                "accountId": "anonymous",
                "apiId": ID,
                "domainName": format!("{ID}.lambda-url.us-east-1.localhost"),
                "domainPrefix": ID,
                "http": {
                    "method": "POST",
                    "path": "/my/path%20x",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.7",
                    "userAgent": "agent",
                },
                "requestId": "r-1",
                "routeKey": "$default",
                "stage": "$default",
                "time": "12/Mar/2020:19:03:58 +0000",
                "timeEpoch": 1_584_039_838_390_u64,
            },
            "body": "{\"a\":\"ü\"}",
            "isBase64Encoded": false,
        });
        assert_eq!(event_of(request, None), expected);
    }

    #[test]
    fn what_is_not_there_is_not_in_the_event() {
        let event = event_of(Request::get("/").body(&b""[..]).unwrap(), None);
        for absent in ["cookies", "queryStringParameters", "body"] {
            assert_eq!(event.get(absent), None, "{absent}");
        }
        assert_eq!((&event["rawQueryString"], &event["isBase64Encoded"]), (&json!(""), &json!(false)));
        assert_eq!(event["requestContext"].get("authorizer"), None);
    }

    #[test]
    fn who_signed_is_in_the_context() {
        let caller = Caller {
            access_key: "AKIA".into(),
            account: "000000000000".into(),
            id: "AIDA".into(),
            arn: "arn:aws:iam::000000000000:user/u".into(),
        };
        let event = event_of(Request::get("/").body(&b""[..]).unwrap(), Some(&caller));
        let expected = json!({
            "accessKey": "AKIA", "accountId": "000000000000", "callerId": "AIDA", "cognitoIdentity": null,
            "principalOrgId": null, "userArn": "arn:aws:iam::000000000000:user/u", "userId": "AIDA",
        });
        assert_eq!(event["requestContext"]["authorizer"]["iam"], expected);
        assert_eq!(event["requestContext"]["accountId"], "000000000000");
    }

    proptest! {
        /// Whatever the body and its type, the function can get exactly these bytes out of the event.
        #[test]
        fn no_body_is_lost(
            body in prop::collection::vec(any::<u8>(), 0..200),
            content_type in prop::option::of("(text/plain|application/(json|xml|octet-stream|x-www-form-urlencoded)|image/svg\\+xml)"),
        ) {
            let mut request = Request::post("/");
            if let Some(content_type) = &content_type {
                request = request.header("Content-Type", content_type);
            }
            let event = event_of(request.body(&body[..]).unwrap(), None);
            let text = event.get("body").map_or("", |body| body.as_str().unwrap());
            let read = if event["isBase64Encoded"] == true { STANDARD.decode(text).unwrap() } else { text.into() };
            prop_assert_eq!(read, body);
        }

        #[test]
        fn any_query_is_read(query in "[a-zA-Z0-9%&=+,.:;/_!~*-]{0,60}") {
            let uri = format!("/?{query}");
            let event = event_of(Request::get(&uri).body(&b""[..]).unwrap(), None);
            prop_assert_eq!(&event["rawQueryString"], &json!(query));
        }
    }
}
