//! Temporary credentials that nobody stores: what a session is stands in its token.
//!
//! ```text
//! token   base64url( version ‖ HMAC-SHA256(sealing key, "token" ‖ key id ‖ JSON) ‖ JSON )
//! secret  base64( HMAC-SHA256(sealing key, "secret" ‖ key id ‖ JSON) )[..40]
//! ```
//!
//! The holder can read the token and change nothing in it; the secret can't be derived from it without the sealing key,
//! which lies in the store, so that every frontend over one store takes what another gave out.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hearth_domain::AccountId;
use hearth_store::document::{CommitError, Expected};
use hearth_store::{Collection, Document, StoreFailure};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use super::records::new_id;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 32;
/// Characters of a secret, as at AWS.
const SECRET_CHARS: usize = 40;
/// Longest token taken, bytes. Ours: AWS names no limit, and says that tokens may grow.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// A session, as its token has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whose account.
    pub account: AccountId,
    /// Of whom.
    pub subject: Subject,
    /// From when, Unix seconds.
    pub issued_unix_s: i64,
    /// Until when, Unix seconds.
    pub expires_unix_s: i64,
    /// A policy that narrows it, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Managed policies that narrow it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_arns: Vec<String>,
    /// Tags of the session.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Of whom a session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The account itself (`GetSessionToken`).
    Root,
    /// A user (`GetSessionToken`).
    User {
        /// Its name.
        name: String,
        /// Its id: another user of that name is not meant.
        id: String,
    },
    /// A role (`AssumeRole`).
    Role {
        /// Its name.
        name: String,
        /// Its id; `None` for a function's session, which is of whatever role has this name, if that trusts Lambda.
        id: Option<String>,
        /// The path in its ARN.
        path: String,
        /// The session's name.
        session: String,
    },
}

/// A token that is none of ours, or none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not ours, changed, or of another key.
    #[error("The security token included in the request is invalid.")]
    Invalid,
    /// Past its time.
    #[error("The security token included in the request is expired")]
    Expired,
}

/// Credentials of a session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredentials {
    /// `ASIA…`
    pub key_id: String,
    /// The secret.
    pub secret: String,
    /// The token.
    pub token: String,
}

impl std::fmt::Debug for SessionCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCredentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Seals and opens sessions.
pub struct Sessions {
    mac: Hmac<Sha256>,
}

/// The key that all frontends over one store share.
#[derive(Serialize, Deserialize)]
struct SealingKey {
    key: String,
}

impl Document for SealingKey {
    const KIND: &'static str = "sealing-key";
}

const SEALING_KEY: &str = "sessions";

impl Sessions {
    /// With the store's key, which the first to ask makes.
    pub async fn open_store(documents: std::sync::Arc<dyn hearth_store::Documents>) -> Result<Self, StoreFailure> {
        let keys: Collection<SealingKey> = Collection::new(documents);
        let random = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()].map(|part| part.simple().to_string()).concat();
        match keys.put(SEALING_KEY, &SealingKey { key: random }, Expected::Absent).await {
            Ok(()) | Err(CommitError::Unexpected { .. }) => {}
            Err(CommitError::Store(failure)) => return Err(failure),
        }
        let found = keys.get(SEALING_KEY).await?;
        let found = found.ok_or_else(|| StoreFailure::new("read the sealing key", "it is not there"))?;
        Ok(Self::new(found.value.key.as_bytes()))
    }

    /// With this key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { mac: Hmac::new_from_slice(key).expect("HMAC takes keys of every length") }
    }

    /// New credentials for a session.
    #[must_use]
    pub fn seal(&self, session: &Session) -> SessionCredentials {
        let key_id = new_id("ASIA");
        let json = serde_json::to_vec(session).unwrap_or_else(|_| unreachable!("a session has only text and numbers"));
        let mut token = vec![VERSION];
        token.extend(self.tag("token", &key_id, &json).finalize().into_bytes());
        token.extend(&json);
        SessionCredentials { secret: self.secret(&key_id, &json), token: URL_SAFE_NO_PAD.encode(token), key_id }
    }

    /// The session of a token that came with `key_id`, and its secret.
    pub fn open(&self, key_id: &str, token: &str, now_unix_s: i64) -> Result<(Session, String), TokenError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(TokenError::Invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Invalid)?;
        let (tag, json) = match bytes.split_first() {
            Some((&VERSION, rest)) if rest.len() > TAG_BYTES => rest.split_at(TAG_BYTES),
            _ => return Err(TokenError::Invalid),
        };
        self.tag("token", key_id, json).verify_slice(tag).map_err(|_| TokenError::Invalid)?;
        let session: Session = serde_json::from_slice(json).map_err(|_| TokenError::Invalid)?;
        if session.expires_unix_s <= now_unix_s {
            return Err(TokenError::Expired);
        }
        Ok((session, self.secret(key_id, json)))
    }

    fn secret(&self, key_id: &str, json: &[u8]) -> String {
        let mut secret = STANDARD.encode(self.tag("secret", key_id, json).finalize().into_bytes());
        secret.truncate(SECRET_CHARS);
        secret
    }

    fn tag(&self, purpose: &str, key_id: &str, json: &[u8]) -> Hmac<Sha256> {
        // Neither a purpose nor a key id of ours has a NUL, so no two inputs are the same bytes.
        self.mac
            .clone()
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(key_id)
            .chain_update([0])
            .chain_update(json)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session() -> Session {
        Session {
            account: "000000000000".parse().unwrap(),
            subject: Subject::Role {
                name: "r".into(),
                id: Some("AROA1".into()),
                path: "/".into(),
                session: "s".into(),
            },
            issued_unix_s: 1_000,
            expires_unix_s: 2_000,
            policy: None,
            policy_arns: Vec::new(),
            tags: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        }
    }

    #[test]
    fn what_was_sealed_opens_until_it_expires() {
        let sessions = Sessions::new(b"key");
        let given = sessions.seal(&session());
        assert_eq!((given.key_id.len(), given.secret.len()), (20, SECRET_CHARS));
        assert_eq!(sessions.open(&given.key_id, &given.token, 1_999), Ok((session(), given.secret.clone())));
        assert_eq!(sessions.open(&given.key_id, &given.token, 2_000), Err(TokenError::Expired));
        assert_eq!(sessions.open("ASIAOTHER", &given.token, 1_999), Err(TokenError::Invalid));
        assert_eq!(Sessions::new(b"other").open(&given.key_id, &given.token, 1_999), Err(TokenError::Invalid));
        assert!(!format!("{given:?}").contains(&given.secret));
        assert!(!given.token.contains(&given.secret));
    }

    proptest! {
        #[test]
        fn a_changed_token_opens_nothing(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let sessions = Sessions::new(b"key");
            let given = sessions.seal(&session());
            let at = at.index(given.token.len() - 1);
            let mut token = given.token.clone();
            token.replace_range(at..=at, &to);
            let opened = sessions.open(&given.key_id, &token, 1_500).is_ok();
            prop_assert_eq!(opened, token == given.token);
        }

        #[test]
        fn no_text_is_a_token(token in "\\PC{0,100}") {
            prop_assert_eq!(Sessions::new(b"key").open("ASIA", &token, 0), Err(TokenError::Invalid));
        }
    }
}
