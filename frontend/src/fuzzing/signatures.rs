//! Signatures: whatever a stranger claims is refused, and what we sign is accepted, with whatever stands in it.

use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::lines;
use crate::sigv4::{AuthError, Claim, Credentials, PayloadHash, SERVICE, Verifier, presign, sign};

const NOW_S: i64 = 1_700_000_000;

/// Lines: path and query, `authorization`, `x-amz-date`, a name and a value of a header; then the body.
pub fn signatures(data: &[u8]) {
    let ([target, authorization, date, name, value], body) = lines(data);
    let Ok(uri) = format!("http://h/{target}").parse::<Uri>() else { return };
    let Ok(mut request) = Request::builder().method(Method::POST).uri(&uri).body(()) else { return };
    let named = [("authorization", &authorization), ("x-amz-date", &date), (name.as_str(), &value)];
    for (name, value) in named {
        let (name, value) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes()));
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    assert!(check(&request, body.as_bytes()).is_err(), "nobody knows the key");
    let credentials = Credentials {
        key_id: "AKID".to_owned(),
        secret: "secret".to_owned(),
        session_token: None,
        region: "us-east-1".to_owned(),
    };
    if request.headers().contains_key("x-amz-security-token") || request.headers().contains_key("host") {
        return;
    }
    if sign(&credentials, NOW_S, &Method::POST, &uri, request.headers_mut(), body.as_bytes()).is_ok() {
        assert_eq!(check(&request, body.as_bytes()), Ok(()), "signed: {request:?}");
        assert!(check(&request, b"another body, as it happens").is_err(), "another body");
    }
    let signed = presign(&credentials, NOW_S, 60, &uri).ok().and_then(|url| url.parse::<Uri>().ok());
    let claims_already = uri.query().unwrap_or_default().to_ascii_lowercase().contains("x-amz");
    if let Some(url) = signed.filter(|_| !claims_already)
        && let Ok(request) = Request::builder().uri(url).header("host", "h").body(())
    {
        assert_eq!(check(&request, b""), Ok(()), "presigned: {request:?}");
    }
}

fn check(request: &Request<()>, body: &[u8]) -> Result<(), AuthError> {
    let verifier = Verifier::new(None);
    let (parts, ()) = request.clone().into_parts();
    let claim = Claim::read(&parts)?;
    verifier.admit(&claim, NOW_S, SERVICE, false)?;
    verifier.verify(&claim, "secret", &parts, PayloadHash::of(body))
}
