//! What a request claims about who signed it, read from its head. Nothing is believed yet.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, header};

use super::canonical::{PayloadHash, decoded};
use super::verify::AuthError;
use super::{ALGORITHM, PRESIGNED_MAX_S, TERMINATOR};
use crate::calendar::AmzDate;

/// A request's own account of its signature.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Where the signature stands.
    pub form: Form,
    /// Key id and scope, as given: `AKID/date/region/service/aws4_request`.
    pub credential: Cow<'a, str>,
    /// Lower-case header names, separated by semicolons, as given.
    pub signed_headers: Cow<'a, str>,
    /// Lower-case hexadecimal HMAC, as given.
    pub signature: Cow<'a, str>,
    /// When it was signed.
    pub date: AmzDate,
    /// The payload hash the request names; without one the body's own counts.
    pub payload: Option<PayloadHash>,
    /// The session token that came along: it says whose the key is.
    pub session_token: Option<Cow<'a, str>>,
}

/// Where a signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the `Authorization` header.
    Header,
    /// In the query of a presigned URL.
    Query {
        /// How long it is good for, counted from its date.
        expires_s: i64,
    },
}

/// The parts of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The access key's id.
    pub key_id: &'a str,
    /// `YYYYMMDD`.
    pub date: &'a str,
    /// The region it was signed for.
    pub region: &'a str,
    /// The service it was signed for.
    pub service: &'a str,
}

impl<'a> Claim<'a> {
    /// Reads the head of a request.
    pub fn read(parts: &'a Parts) -> Result<Self, AuthError> {
        let query = parts.uri.query().unwrap_or_default();
        match parts.headers.get(header::AUTHORIZATION) {
            Some(value) => {
                let value = value.to_str().map_err(|_| incomplete("Authorization header is not plain text."))?;
                Self::from_header(value, &parts.headers)
            }
            None if parameter(query, "X-Amz-Algorithm").is_some() => Self::from_query(query, &parts.headers),
            None => Err(AuthError::Missing),
        }
    }

    /// The credential's parts.
    pub fn scope(&self) -> Result<Scope<'_>, AuthError> {
        let mut parts = self.credential.rsplitn(5, '/');
        let mut next = || parts.next().unwrap_or_default();
        let (terminator, service, region, date, key_id) = (next(), next(), next(), next(), next());
        if key_id.is_empty() {
            let text = format!("Credential must have exactly 5 slash-delimited elements, got '{}'", self.credential);
            return Err(AuthError::Incomplete(text));
        }
        if terminator != TERMINATOR {
            return Err(AuthError::Scope(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}'."
            )));
        }
        Ok(Scope { key_id, date, region, service })
    }

    fn from_header(value: &'a str, headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let (algorithm, fields) = value.trim().split_once(' ').unwrap_or((value, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(&format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
                .filter(|v| !v.is_empty())
        };
        let (credential, signed, signature) = (field("Credential"), field("SignedHeaders"), field("Signature"));
        let date = amz_date(headers);
        let mut wrong = String::new();
        for (name, found) in [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed)] {
            if found.is_none() {
                wrong.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
        }
        if date.is_none() {
            wrong.push_str("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
        }
        let (Some(credential), Some(signed), Some(signature), Some(date)) = (credential, signed, signature, date)
        else {
            return Err(incomplete(wrong.trim_end()));
        };
        let date = AmzDate::parse(date)
            .ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format', as 20150830T123600Z."))?;
        Ok(Self {
            form: Form::Header,
            credential: Cow::Borrowed(credential),
            signed_headers: Cow::Borrowed(signed),
            signature: Cow::Borrowed(signature),
            date,
            payload: declared_payload(headers.get("x-amz-content-sha256").map(|value| value.as_bytes()))?,
            session_token: session_token(headers)?,
        })
    }

    fn from_query(query: &'a str, headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let required = |name: &str| {
            parameter(query, name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| incomplete(&format!("AWS query-string parameters must include '{name}'.")))
        };
        let algorithm = required("X-Amz-Algorithm")?;
        if algorithm != ALGORITHM {
            return Err(incomplete(&format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let date = AmzDate::parse(&required("X-Amz-Date")?)
            .ok_or_else(|| incomplete("X-Amz-Date must be in ISO-8601 'basic format', as 20150830T123600Z."))?;
        let expires_s = required("X-Amz-Expires")?.parse::<i64>().unwrap_or(-1);
        if !(0..=PRESIGNED_MAX_S).contains(&expires_s) {
            return Err(incomplete(&format!("X-Amz-Expires must be from 0 to {PRESIGNED_MAX_S} seconds.")));
        }
        let in_query = parameter(query, "X-Amz-Content-Sha256");
        let payload = in_query.as_deref().map(str::as_bytes);
        let payload = payload.or_else(|| headers.get("x-amz-content-sha256").map(|value| value.as_bytes()));
        Ok(Self {
            form: Form::Query { expires_s },
            credential: required("X-Amz-Credential")?,
            signed_headers: required("X-Amz-SignedHeaders")?,
            signature: required("X-Amz-Signature")?,
            date,
            payload: declared_payload(payload)?,
            session_token: match parameter(query, "X-Amz-Security-Token") {
                None => session_token(headers)?,
                in_query => in_query,
            },
        })
    }
}

fn session_token(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, AuthError> {
    let token = headers.get("x-amz-security-token").map(|value| value.to_str().map(Cow::Borrowed));
    token.transpose().map_err(|_| incomplete("X-Amz-Security-Token is not plain text."))
}

fn incomplete(text: &str) -> AuthError {
    AuthError::Incomplete(text.to_owned())
}

fn amz_date(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-amz-date").or_else(|| headers.get(header::DATE))?.to_str().ok()
}

/// A parameter of a raw query, percent-decoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(match decoded(value) {
        Cow::Borrowed(_) => Cow::Borrowed(value),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

fn declared_payload(value: Option<&[u8]>) -> Result<Option<PayloadHash>, AuthError> {
    match value {
        None => Ok(None),
        Some(value) if value == PayloadHash::UNSIGNED.as_bytes() => Ok(Some(PayloadHash::Unsigned)),
        Some(value) if value.starts_with(b"STREAMING-") => Err(incomplete(
            "Payloads signed in chunks (STREAMING-AWS4-HMAC-SHA256-PAYLOAD and its kin) are not supported. Send the \
             body's SHA-256 or UNSIGNED-PAYLOAD in x-amz-content-sha256.",
        )),
        Some(value) => {
            let mut hash = [0; 32];
            hex::decode_to_slice(value, &mut hash).map_err(|_| {
                incomplete("x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a SHA-256 in hexadecimal.")
            })?;
            Ok(Some(PayloadHash::Sha256(hash)))
        }
    }
}
