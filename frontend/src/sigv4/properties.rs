//! What must hold for every request, well formed or not.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use proptest::prelude::*;

use super::{AuthError, Claim, Credentials, PayloadHash, Verifier, presign, sign};

const NOW_S: i64 = 1_700_000_000;

fn credentials() -> Credentials {
    Credentials { key_id: "AKID".into(), secret: "secret".into(), session_token: None, region: "us-east-1".into() }
}

fn check(verifier: &Verifier, request: &Request<()>, body: &[u8]) -> Result<(), AuthError> {
    let (parts, ()) = request.clone().into_parts();
    let claim = Claim::read(&parts)?;
    verifier.admit(&claim, NOW_S, super::SERVICE, false)?;
    verifier.verify(&claim, "secret", &parts, PayloadHash::of(body))
}

proptest! {
    /// What we sign we accept, whatever stands in path, query, headers and body; one changed digit and we do not.
    #[test]
    fn signed_requests_are_accepted_and_forged_ones_are_not(
        path in "(/[a-zA-Z0-9._~%:@!&'()*+,;=-]{0,12}){1,5}",
        query in "([a-zA-Z0-9%_.~+-]{0,6}(=[a-zA-Z0-9%+/=-]{0,6})?&?){0,4}",
        value in "[ -~]{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..64),
        digit in 0_usize..64,
        token in proptest::option::of("[A-Za-z0-9+/=_-]{1,40}"),
    ) {
        let credentials = || Credentials { session_token: token.clone(), ..credentials() };
        let Ok(uri) = format!("http://h{path}?{query}").parse::<Uri>() else { return Ok(()) };
        let mut request = Request::builder().method(Method::POST).uri(&uri).body(()).unwrap();
        request.headers_mut().insert("x-some", HeaderValue::from_str(&value).unwrap());
        sign(&credentials(), NOW_S, &Method::POST, &uri, request.headers_mut(), &body).unwrap();
        let verifier = Verifier::new(None);
        prop_assert_eq!(check(&verifier, &request, &body), Ok(()));
        let mut forged = request.headers()["authorization"].to_str().unwrap().to_owned();
        let at = forged.len() - 1 - digit;
        let other = if &forged[at..=at] == "0" { "1" } else { "0" };
        forged.replace_range(at..=at, other);
        request.headers_mut().insert("authorization", forged.parse().unwrap());
        let refused = matches!(check(&verifier, &request, &body), Err(AuthError::Mismatch { .. }));
        prop_assert!(refused);
        let url: Uri = presign(&credentials(), NOW_S, 60, &uri).unwrap().parse().unwrap();
        let request = Request::builder().uri(url).header("host", "h").body(()).unwrap();
        prop_assert_eq!(check(&verifier, &request, b""), Ok(()));
    }

    /// What is almost a signature is an answer, too, and what it claims is what stands there.
    #[test]
    fn almost_signatures_get_an_answer(
        credential in "[A-Z/]{0,8}(/[a-z0-9_]{0,12}){0,6}",
        signed in "[a-zA-Z;-]{0,20}",
        signature in "[0-9a-fA-F]{0,66}",
        separator in prop::sample::select(vec![", ", ",", " ", ",,"]),
        payload in prop::sample::select(vec!["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "00", ""]),
        token in "[ -~]{0,20}",
    ) {
        let authorization = [
            format!("AWS4-HMAC-SHA256 Credential={credential}"),
            format!("SignedHeaders={signed}"),
            format!("Signature={signature}"),
        ]
        .join(separator);
        let request = Request::builder()
            .uri("/x")
            .header("authorization", authorization)
            .header("x-amz-date", "20231114T221320Z")
            .header("x-amz-content-sha256", payload)
            .header("x-amz-security-token", &token)
            .body(())
            .unwrap();
        prop_assert!(check(&Verifier::new(None), &request, b"").is_err());
        let (parts, ()) = request.into_parts();
        if let Ok(claim) = Claim::read(&parts) {
            prop_assert_eq!(claim.session_token.as_deref(), Some(token.as_str()));
        }
    }

    /// Whatever a stranger sends is an answer, and never an entry.
    #[test]
    fn strangers_get_an_answer(authorization in "\\PC{0,200}", query in "[ -~]{0,200}", date in "\\PC{0,20}") {
        let Ok(uri) = format!("/x?{}", query.replace(['#', ' '], "")).parse::<Uri>() else { return Ok(()) };
        let mut headers = HeaderMap::new();
        for (name, text) in [("authorization", &authorization), ("x-amz-date", &date)] {
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        *request.headers_mut() = headers;
        prop_assert!(check(&Verifier::new(None), &request, b"").is_err());
    }
}
