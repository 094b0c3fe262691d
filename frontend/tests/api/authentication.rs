//! Who is let in, and what the others are told.

use hearth_frontend::sigv4::Credentials;
use serde_json::Value;

use crate::platform::{Platform, SECRET, credentials, now_s, signed, signed_by};

const PATH: &str = "/2015-03-31/functions";

#[tokio::test]
async fn each_way_to_be_wrong_has_its_own_answer() {
    let platform = Platform::start().await;
    let answer = async |request| {
        let reply = platform.raw(request).await;
        assert_eq!(reply.header("x-amzn-requestid").len(), 36);
        assert_eq!(reply.json().as_object().unwrap().keys().collect::<Vec<_>>(), ["message"]);
        let (status, code, text) = reply.error();
        assert_eq!(status, 403);
        (code, text)
    };
    assert_eq!(platform.raw(signed("GET", PATH, &[], b"")).await.status, 200);

    let mut bare = signed("GET", PATH, &[], b"");
    bare.headers_mut().remove("authorization");
    let missing = ("MissingAuthenticationTokenException".to_owned(), "Missing Authentication Token".to_owned());
    assert_eq!(answer(bare).await, missing);

    let mut partial = signed("GET", PATH, &[], b"");
    partial.headers_mut().insert("authorization", "AWS4-HMAC-SHA256 Credential=x".parse().unwrap());
    let (code, text) = answer(partial).await;
    assert_eq!(code, "IncompleteSignatureException");
    assert_eq!(
        text,
        "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."
    );

    let unknown = Credentials { key_id: "AKIAI44QH8DHBEXAMPLE".into(), ..credentials() };
    let (code, text) = answer(signed_by(&unknown, now_s(), "GET", PATH, &[], b"")).await;
    assert_eq!(code, "UnrecognizedClientException");
    assert_eq!(text, "The security token included in the request is invalid.");

    let (code, _) = answer(signed("GET", PATH, &[("x-amz-security-token", "some")], b"")).await;
    assert_eq!(code, "UnrecognizedClientException");

    let wrong = Credentials { secret: SECRET.to_lowercase(), ..credentials() };
    let (code, text) = answer(signed_by(&wrong, now_s(), "GET", PATH, &[], b"")).await;
    assert_eq!(code, "InvalidSignatureException");
    assert!(text.starts_with("The request signature we calculated does not match the signature you provided."));
    assert!(text.contains("The Canonical String for this request should have been\n'GET\n/2015-03-31/functions\n"));
    assert!(!text.contains(SECRET));

    let (code, text) = answer(signed_by(&credentials(), now_s() - 360, "GET", PATH, &[], b"")).await;
    assert_eq!(code, "InvalidSignatureException");
    assert!(text.starts_with("Signature expired: "), "{text}");
    let (_, text) = answer(signed_by(&credentials(), now_s() + 360, "GET", PATH, &[], b"")).await;
    assert!(text.starts_with("Signature not yet current: "), "{text}");

    let mut service = signed("GET", PATH, &[], b"");
    let authorization = service.headers()["authorization"].to_str().unwrap().replace("/lambda/", "/s3/");
    service.headers_mut().insert("authorization", authorization.parse().unwrap());
    assert_eq!(answer(service).await.1, "Credential should be scoped to correct service: 'lambda'.");
}

#[tokio::test]
async fn any_region_will_do_unless_only_our_own_is_wanted() {
    let elsewhere = Credentials { region: "ap-southeast-2".into(), ..credentials() };
    let platform = Platform::start().await;
    assert_eq!(platform.raw(signed_by(&elsewhere, now_s(), "GET", PATH, &[], b"")).await.status, 200);
    let config = hearth_frontend::Config { only_own_region: true, ..Default::default() };
    let strict = Platform::with(config, crate::fleet::Fleet::new()).await;
    let refused = strict.raw(signed_by(&elsewhere, now_s(), "GET", PATH, &[], b"")).await.error();
    assert_eq!(refused.2, "Credential should be scoped to a valid region.");
    assert_eq!(strict.raw(signed("GET", PATH, &[], b"")).await.status, 200);
}

#[tokio::test]
async fn every_route_of_the_model_wants_a_signature_and_knows_its_name() {
    let platform = Platform::start().await;
    for route in hearth_frontend::routes() {
        let path = route.path.replace(['{', '}'], "");
        let path = route.query.map_or(path.clone(), |query| format!("{path}?{query}=x"));
        let bare = http::Request::builder().method(route.method).uri(&path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(platform.raw(bare).await.error().1, "MissingAuthenticationTokenException", "{path}");
        let reply = platform.call(route.method, &path, &Value::Null).await;
        if route.is_served() {
            assert!(reply.status < 500, "{}: {:?}", route.name, reply.bytes);
        } else {
            let expected = format!("Hearth does not implement {} yet.", route.name);
            assert_eq!(reply.error(), (501, "NotImplementedException".to_owned(), expected));
        }
    }
    let unknown = platform.call("GET", "/2015-03-31/nothing", &Value::Null).await.error();
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "UnknownOperationException"));
    let method = platform.call("PATCH", PATH, &Value::Null).await.error();
    assert_eq!(method.1, "UnknownOperationException");
    let of_the_model = hearth_frontend::routes().filter(|route| !route.path.starts_with("/hearth/"));
    assert_eq!(of_the_model.count(), 85);
}
