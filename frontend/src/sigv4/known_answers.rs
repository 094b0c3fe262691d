//! Signatures that AWS published: the aws-sig-v4-test-suite's requests and what must come out
//! (key `AKIDEXAMPLE`, 2015-08-30T12:36:00Z, us-east-1, service `service`).

use http::{HeaderMap, HeaderName, Request};

use super::canonical::{PayloadHash, canonical_request};
use super::sign::string_to_sign;
use super::signing_key::SigningKey;
use super::{AuthError, Claim, Credentials, Verifier, presign, sign};
use crate::calendar::AmzDate;

const DATE: &str = "20150830T123600Z";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn signature(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in [("host", "example.amazonaws.com"), ("x-amz-date", DATE)].iter().chain(headers) {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let payload = PayloadHash::of(b"");
    let canonical = canonical_request(method, path, query, &map, &names.join(";"), None, &payload).unwrap();
    let to_sign = string_to_sign(&AmzDate::parse(DATE).unwrap(), "20150830/us-east-1/service/aws4_request", &canonical);
    hex::encode(SigningKey::derive(SECRET, "20150830", "us-east-1", "service").sign(to_sign.as_bytes()))
}

#[test]
fn paths() {
    for (path, expected) in [
        ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("//", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("/./", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("/example/..", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("/example1/example2/../..", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("/./example", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
        ("//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        ("/example space/", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        ("/ሴ", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        (&format!("/{UNRESERVED}"), "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    ] {
        assert_eq!(signature("GET", path, "", &[]), expected, "{path}");
    }
    assert_eq!(signature("POST", "/", "", &[]), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

#[test]
fn queries() {
    for (query, expected) in [
        ("Param1=value1", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
        ("Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        (
            "Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        ("ሴ=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        (&format!("{UNRESERVED}={UNRESERVED}"), "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
    ] {
        assert_eq!(signature("GET", "/", query, &[]), expected, "{query}");
    }
}

#[test]
fn headers() {
    let signed = |headers: &[(&str, &str)]| signature("GET", "/", "", headers);
    let duplicate = [("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")];
    assert_eq!(signed(&duplicate), "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea");
    let order =
        [("my-header1", "value4"), ("my-header1", "value1"), ("my-header1", "value3"), ("my-header1", "value2")];
    assert_eq!(signed(&order), "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01");
    let trim = [("my-header1", " value1"), ("my-header2", " \"a   b   c\"")];
    assert_eq!(signed(&trim), "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
    let folded = [("my-header1", "value1   value2      value3")];
    assert_eq!(signed(&folded), "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd");
}

/// What our signer signs our verifier takes, and nothing near it.
#[test]
fn a_signature_is_good_for_one_request() {
    let credentials =
        Credentials { key_id: "AKID".into(), secret: SECRET.into(), session_token: None, region: "eu-north-1".into() };
    let now = 1_700_000_000;
    let verifier = Verifier::new(None);
    let check = |request: &Request<()>, body: &[u8], secret: &str, at: i64| {
        let (parts, ()) = request.clone().into_parts();
        let claim = Claim::read(&parts)?;
        assert_eq!(verifier.admit(&claim, at, super::SERVICE, false)?, "AKID");
        verifier.verify(&claim, secret, &parts, PayloadHash::of(body))
    };
    let uri: http::Uri = "http://h:1/2015-03-31/functions/a%3Ab?Qualifier=%24LATEST".parse().unwrap();
    let mut request = Request::builder().method("PUT").uri(&uri).body(()).unwrap();
    sign(&credentials, now, &http::Method::PUT, &uri, request.headers_mut(), b"body").unwrap();
    for _ in 0..2 {
        // The second time with the signing key from the cache.
        assert_eq!(check(&request, b"body", SECRET, now), Ok(()));
    }
    assert_eq!(check(&request, b"body", SECRET, now + 300), Ok(()));
    assert_eq!(check(&request, b"Body", SECRET, now), Err(AuthError::PayloadMismatch));
    assert!(matches!(check(&request, b"body", "other", now), Err(AuthError::Mismatch { .. })));
    assert!(matches!(check(&request, b"body", SECRET, now + 301), Err(AuthError::Time(_))));
    assert!(matches!(check(&request, b"body", SECRET, now - 301), Err(AuthError::Time(_))));
    let mut other = request.clone();
    *other.uri_mut() = "http://h:1/2015-03-31/functions/a%3Ab?Qualifier=%24LATESU".parse().unwrap();
    assert!(matches!(check(&other, b"body", SECRET, now), Err(AuthError::Mismatch { .. })));
    let mut other = request.clone();
    *other.method_mut() = http::Method::POST;
    assert!(matches!(check(&other, b"body", SECRET, now), Err(AuthError::Mismatch { .. })));
    let mut added = request.clone();
    added.headers_mut().insert("x-amz-invocation-type", "Event".parse().unwrap());
    assert!(matches!(check(&added, b"body", SECRET, now), Err(AuthError::UnsignedHeader(_))));

    let url: http::Uri = presign(&credentials, now, 600, &uri).unwrap().parse().unwrap();
    let request = Request::builder().uri(url).header("host", "h:1").body(()).unwrap();
    assert_eq!(check(&request, b"", SECRET, now + 600), Ok(()));
    assert!(matches!(check(&request, b"", SECRET, now + 601), Err(AuthError::Time(_))));
    assert!(matches!(check(&request, b"x", SECRET, now), Err(AuthError::Mismatch { .. })));
}
