//! Signing, for clients: our CLI, presigned URLs, tests.

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use sha2::{Digest, Sha256};

use super::canonical::{PayloadHash, canonical_request, push_encoded, push_hex};
use super::signing_key::SigningKey;
use super::{ALGORITHM, SERVICE, TERMINATOR};
use crate::calendar::AmzDate;

/// Who signs, and for which region.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's id.
    pub key_id: String,
    /// Its secret.
    pub secret: String,
    /// The session's token, if the key is one of a session.
    pub session_token: Option<String>,
    /// The region in the scope.
    pub region: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("key_id", &self.key_id)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Signs a request in the header form at `unix_s`: sets `host`, `x-amz-date`, `x-amz-content-sha256` and
/// `authorization`. All headers present are signed, so set them before. `uri` must be absolute.
pub fn sign(
    credentials: &Credentials,
    unix_s: i64,
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), SignError> {
    let date = AmzDate::from_unix(unix_s);
    let payload = PayloadHash::of(body);
    set_host(headers, uri)?;
    headers.insert("x-amz-date", value(&date.to_string())?);
    headers.insert("x-amz-content-sha256", value(&hex::encode(Sha256::digest(body)))?);
    if let Some(token) = &credentials.session_token {
        headers.insert("x-amz-security-token", value(token)?);
    }
    headers.remove(header::AUTHORIZATION);
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let signed_headers = names.join(";");
    let query = uri.query().unwrap_or_default();
    let canonical = canonical_request(method.as_str(), uri.path(), query, headers, &signed_headers, None, &payload)
        .ok_or(SignError::NoHost)?;
    let scope = scope(&date, &credentials.region);
    let key = SigningKey::derive(&credentials.secret, &date.date(), &credentials.region, SERVICE);
    let signature = hex::encode(key.sign(string_to_sign(&date, &scope, &canonical).as_bytes()));
    let key_id = &credentials.key_id;
    let authorization =
        format!("{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={signed_headers}, Signature={signature}");
    headers.insert(header::AUTHORIZATION, value(&authorization)?);
    Ok(())
}

/// A URL that anybody may GET for `expires_s` seconds from `unix_s`. `uri` must be absolute.
pub fn presign(credentials: &Credentials, unix_s: i64, expires_s: u32, uri: &Uri) -> Result<String, SignError> {
    let date = AmzDate::from_unix(unix_s);
    let mut headers = HeaderMap::new();
    set_host(&mut headers, uri)?;
    let scope = scope(&date, &credentials.region);
    let mut query = uri.query().map(|query| format!("{query}&")).unwrap_or_default();
    query.push_str(&format!("X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential="));
    push_encoded(&mut query, format!("{}/{scope}", credentials.key_id).as_bytes());
    query.push_str(&format!("&X-Amz-Date={date}&X-Amz-Expires={expires_s}&X-Amz-SignedHeaders=host"));
    if let Some(token) = &credentials.session_token {
        query.push_str("&X-Amz-Security-Token=");
        push_encoded(&mut query, token.as_bytes());
    }
    let payload = PayloadHash::of(b"");
    let canonical = canonical_request("GET", uri.path(), &query, &headers, "host", None, &payload);
    let canonical = canonical.ok_or(SignError::NoHost)?;
    let key = SigningKey::derive(&credentials.secret, &date.date(), &credentials.region, SERVICE);
    let signature = hex::encode(key.sign(string_to_sign(&date, &scope, &canonical).as_bytes()));
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().ok_or(SignError::NoHost)?;
    Ok(format!("{scheme}://{authority}{}?{query}&X-Amz-Signature={signature}", uri.path()))
}

/// A request that can't be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The URI names no host.
    #[error("the URI names no host")]
    NoHost,
    /// The key id or region can't stand in a header.
    #[error("the key id or the region has characters that can't stand in a header")]
    NotAHeader,
}

/// What the signature is over.
pub(super) fn string_to_sign(date: &AmzDate, scope: &str, canonical: &str) -> String {
    let mut text = format!("{ALGORITHM}\n{date}\n{scope}\n");
    push_hex(&mut text, &Sha256::digest(canonical.as_bytes()));
    text
}

fn scope(date: &AmzDate, region: &str) -> String {
    format!("{}/{region}/{SERVICE}/{TERMINATOR}", date.date())
}

fn set_host(headers: &mut HeaderMap, uri: &Uri) -> Result<(), SignError> {
    let authority = uri.authority().ok_or(SignError::NoHost)?;
    headers.insert(header::HOST, value(authority.as_str())?);
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError::NotAHeader)
}
