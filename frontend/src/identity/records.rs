//! Accounts, users, roles and policies, as they are stored.

use std::collections::BTreeMap;

use hearth_domain::AccountId;
use hearth_store::Document;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An account beside the first one, which every platform has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Free text.
    pub name: String,
    /// When it was made, Unix milliseconds.
    pub created_unix_ms: u64,
}

impl Document for Account {
    const KIND: &'static str = "account";
}

/// What a user or role may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policies {
    /// Its own documents by name, as they were given.
    pub inline: BTreeMap<String, String>,
    /// ARNs of managed policies, in the order they were attached.
    pub attached: Vec<String>,
}

/// A user of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// `AIDA…`: another one for the next user of that name.
    pub id: String,
    /// `/` or `/division/`
    pub path: String,
    /// When it was made, Unix milliseconds.
    pub created_unix_ms: u64,
    /// What it may do.
    pub policies: Policies,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Document for User {
    const KIND: &'static str = "user";
}

/// A role of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// `AROA…`: another one for the next role of that name.
    pub id: String,
    /// `/` or `/service-role/`
    pub path: String,
    /// Free text.
    pub description: String,
    /// When it was made, Unix milliseconds.
    pub created_unix_ms: u64,
    /// Longest session, seconds.
    pub session_max_s: u32,
    /// Who may assume it: a policy, as it was given.
    pub trust: String,
    /// What it may do.
    pub policies: Policies,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Document for Role {
    const KIND: &'static str = "role";
}

/// A managed policy that an account made itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomPolicy {
    /// `ANPA…`
    pub id: String,
    /// `/` or another path.
    pub path: String,
    /// Free text.
    pub description: String,
    /// When it was made, Unix milliseconds.
    pub created_unix_ms: u64,
    /// As it was given.
    pub document: String,
}

impl Document for CustomPolicy {
    const KIND: &'static str = "managed-policy";
}

impl User {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self, account: &AccountId, name: &str) -> String {
        format!("arn:aws:iam::{account}:user{}{name}", self.path)
    }
}

impl Role {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self, account: &AccountId, name: &str) -> String {
        format!("arn:aws:iam::{account}:role{}{name}", self.path)
    }
}

impl CustomPolicy {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self, account: &AccountId, name: &str) -> String {
        format!("arn:aws:iam::{account}:policy{}{name}", self.path)
    }
}

/// A new id: four letters that tell of what, and sixteen at random, of 80 bits.
#[must_use]
pub fn new_id(prefix: &str) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    // 122 bits of a UUID are random; the fixed ones lie in the bytes left out here.
    let random = Uuid::new_v4().into_bytes();
    let random = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13].map(|at: usize| random[at]);
    let bits = random.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let letters = (0..16).map(|at| char::from(LETTERS[(bits >> (5 * at)) as usize & 31]));
    prefix.chars().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::new_id;

    #[test]
    fn ids_are_of_aws_form_and_differ() {
        let ids: std::collections::BTreeSet<String> = (0..1_000).map(|_| new_id("AROA")).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 20 && id.starts_with("AROA")));
        assert!(ids.iter().all(|id| id.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b))));
    }
}
