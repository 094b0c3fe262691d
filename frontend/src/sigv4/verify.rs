//! Checking a claim: first what the head alone shows, then the signature.

use http::request::Parts;

use super::CLOCK_SKEW_MAX_S;
use super::canonical::{PayloadHash, canonical_request};
use super::claim::{Claim, Form, Scope};
use super::sign::string_to_sign;
use super::signing_key::{SigningKey, SigningKeys};
use crate::calendar::AmzDate;

/// Headers that change what a request does: if present they must be signed, so that nobody on the way can add them.
const MUST_BE_SIGNED: [&str; 5] =
    ["x-amz-date", "x-amz-invocation-type", "x-amz-log-type", "x-amz-client-context", "x-amz-security-token"];

/// Checks signatures; keeps the signing keys of credentials that proved good.
#[derive(Default)]
pub struct Verifier {
    region: Option<String>,
    keys: SigningKeys,
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It carries no signature at all.
    #[error("Missing Authentication Token")]
    Missing,
    /// Parts of the signature are missing or have no meaning.
    #[error("{0}")]
    Incomplete(String),
    /// No such key, or a session token that nobody issued.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// A session token past its time.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// Signed for another service, region or day.
    #[error("{0}")]
    Scope(String),
    /// Too old, or from the future.
    #[error("{0}")]
    Time(String),
    /// A header that must be signed is not.
    #[error("{0}")]
    UnsignedHeader(String),
    /// The body is not the one that was signed.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    PayloadMismatch,
    /// The signature is wrong. Both strings are the server's view of the request: nothing in them is secret.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for this \
         request should have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{to_sign}'\n"
    )]
    Mismatch {
        /// The canonical request.
        canonical: String,
        /// The string to sign.
        to_sign: String,
    },
}

impl Verifier {
    /// A verifier that takes any region in the scope, or only the one given.
    #[must_use]
    pub fn new(region: Option<String>) -> Self {
        Self { region, keys: SigningKeys::default() }
    }

    /// Checks what the head of the request shows: service, region (unless the service is the same in all), dates.
    /// Gives the key id to look up.
    pub fn admit<'c>(
        &self,
        claim: &'c Claim<'_>,
        now_unix_s: i64,
        wanted_service: &str,
        is_global: bool,
    ) -> Result<&'c str, AuthError> {
        let Scope { key_id, date, region, service } = claim.scope()?;
        if service != wanted_service {
            let text = format!("Credential should be scoped to correct service: '{wanted_service}'.");
            return Err(AuthError::Scope(text));
        }
        let elsewhere = self.region.as_ref().is_some_and(|wanted| wanted != region) && !is_global;
        if elsewhere || region.is_empty() {
            return Err(AuthError::Scope("Credential should be scoped to a valid region.".to_owned()));
        }
        let signed_on = claim.date.date();
        if date != signed_on {
            return Err(AuthError::Scope(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{date}' != '{signed_on}', from '{}'.",
                claim.date
            )));
        }
        check_time(claim, AmzDate::from_unix(now_unix_s))?;
        Ok(key_id)
    }

    /// Checks the signature over head and body. `computed` is the hash of the body as it arrived.
    pub fn verify(
        &self,
        claim: &Claim<'_>,
        secret: &str,
        parts: &Parts,
        computed: PayloadHash,
    ) -> Result<(), AuthError> {
        check_signed_headers(claim, parts)?;
        let payload = match &claim.payload {
            Some(PayloadHash::Unsigned) => PayloadHash::Unsigned,
            Some(declared) if *declared != computed => return Err(AuthError::PayloadMismatch),
            _ => computed,
        };
        let skip = matches!(claim.form, Form::Query { .. }).then_some("X-Amz-Signature");
        let query = parts.uri.query().unwrap_or_default();
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        let canonical = canonical_request(method, path, query, &parts.headers, &claim.signed_headers, skip, &payload)
            .ok_or_else(|| {
            AuthError::UnsignedHeader("A header named in SignedHeaders is missing from the request.".to_owned())
        })?;
        let scope = claim.credential.split_once('/').map_or("", |(_, scope)| scope);
        let to_sign = string_to_sign(&claim.date, scope, &canonical);
        let mut signature = [0; 32];
        let well_formed = hex::decode_to_slice(claim.signature.as_bytes(), &mut signature).is_ok();
        let (key, known) = match self.keys.get(&claim.credential, secret) {
            Some(key) => (key, true),
            None => {
                let Scope { date, region, service, .. } = claim.scope()?;
                (SigningKey::derive(secret, date, region, service), false)
            }
        };
        if !key.verify(to_sign.as_bytes(), &signature) || !well_formed {
            return Err(AuthError::Mismatch { canonical, to_sign });
        }
        if !known {
            self.keys.put(&claim.credential, secret, key);
        }
        Ok(())
    }
}

fn check_time(claim: &Claim<'_>, now: AmzDate) -> Result<(), AuthError> {
    let (signed, now_s) = (claim.date, now.unix_s());
    if signed.unix_s() > now_s + CLOCK_SKEW_MAX_S {
        let latest = AmzDate::from_unix(now_s + CLOCK_SKEW_MAX_S);
        return Err(AuthError::Time(format!(
            "Signature not yet current: {signed} is still later than {latest} ({now} + 5 min.)"
        )));
    }
    let (life_s, life) = match claim.form {
        Form::Header => (CLOCK_SKEW_MAX_S, "5 min.".to_owned()),
        Form::Query { expires_s } => (expires_s, format!("{expires_s} s")),
    };
    if signed.unix_s() + life_s < now_s {
        let earliest = AmzDate::from_unix(now_s - life_s);
        return Err(AuthError::Time(format!(
            "Signature expired: {signed} is now earlier than {earliest} ({now} - {life})"
        )));
    }
    Ok(())
}

fn check_signed_headers(claim: &Claim<'_>, parts: &Parts) -> Result<(), AuthError> {
    let signed = |name: &str| claim.signed_headers.split(';').any(|signed| signed == name);
    if !signed("host") {
        let text = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
        return Err(AuthError::UnsignedHeader(text.to_owned()));
    }
    for name in MUST_BE_SIGNED {
        if parts.headers.contains_key(name) && !signed(name) {
            let text = format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.");
            return Err(AuthError::UnsignedHeader(text));
        }
    }
    Ok(())
}
