//! Signing keys: four HMACs over the secret, good for one day, region and service.

use std::sync::Arc;

use dashmap::DashMap;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::TERMINATOR;

/// A signing key, ready to sign: the HMAC has absorbed it already.
#[derive(Clone)]
pub struct SigningKey {
    mac: Hmac<Sha256>,
}

impl SigningKey {
    /// Derives the key from a secret.
    #[must_use]
    pub fn derive(secret: &str, date: &str, region: &str, service: &str) -> Self {
        let mut key = mac(format!("AWS4{secret}").as_bytes());
        for part in [date, region, service, TERMINATOR] {
            key.update(part.as_bytes());
            key = mac(&key.finalize().into_bytes());
        }
        Self { mac: key }
    }

    /// The signature of `text`.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> [u8; 32] {
        self.mac.clone().chain_update(text).finalize().into_bytes().into()
    }

    /// Whether `signature` is the signature of `text`, in constant time.
    #[must_use]
    pub fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        self.mac.clone().chain_update(text).verify_slice(signature).is_ok()
    }
}

/// Signing keys in use, by credential (`AKID/date/region/service/aws4_request`), so that a request pays one HMAC and
/// not five. Only credentials that have proved good enter, and at most [`SigningKeys::MAX`] stay.
#[derive(Default)]
pub(super) struct SigningKeys {
    by_credential: DashMap<Box<str>, Arc<CachedKey>>,
}

struct CachedKey {
    /// The secret it came from: a replaced secret makes the entry worthless.
    secret: String,
    key: SigningKey,
}

impl SigningKeys {
    const MAX: usize = 4_096;

    /// The key kept for `credential`, if it was derived from `secret`.
    pub(super) fn get(&self, credential: &str, secret: &str) -> Option<SigningKey> {
        let cached = self.by_credential.get(credential)?;
        (cached.secret == secret).then(|| cached.key.clone())
    }

    /// Keeps a key. A full cache starts over: credentials change daily, so what it held was mostly yesterday's.
    pub(super) fn put(&self, credential: &str, secret: &str, key: SigningKey) {
        if self.by_credential.len() >= Self::MAX {
            self.by_credential.clear();
        }
        self.by_credential.insert(credential.into(), Arc::new(CachedKey { secret: secret.to_owned(), key }));
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}
