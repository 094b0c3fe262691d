//! Who asks, and whom a policy means.

use serde_json::Value;

use super::arn::account_of;
use super::document::{PolicyError, strings};

/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody in particular: a request without a signature.
    Anonymous,
    /// A service acts, such as `lambda.amazonaws.com`.
    Service(String),
    /// The account itself.
    Root {
        /// Whose.
        account: String,
    },
    /// A user.
    User {
        /// Whose.
        account: String,
        /// `arn:aws:iam::…:user/…`
        arn: String,
    },
    /// A role that was assumed.
    Session {
        /// Whose.
        account: String,
        /// `arn:aws:sts::…:assumed-role/role/session`
        arn: String,
        /// `arn:aws:iam::…:role/…`
        role_arn: String,
    },
}

impl Principal {
    /// The account it belongs to.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Anonymous | Self::Service(_) => None,
            Self::Root { account } | Self::User { account, .. } | Self::Session { account, .. } => Some(account),
        }
    }

    /// Its ARN, as messages name it and `aws sts get-caller-identity` shows it.
    #[must_use]
    pub fn arn(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Service(name) => name.clone(),
            Self::Root { account } => root_arn(account),
            Self::User { arn, .. } | Self::Session { arn, .. } => arn.clone(),
        }
    }
}

fn root_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// How closely a policy names who asks. What names the account only leaves it to the account's own policies whom it
/// lets in; what names the role is narrowed by the session's policy; what names the caller itself is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nearness {
    Account,
    Role,
    Caller,
}

/// The `Principal` or `NotPrincipal` of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PrincipalClause {
    negated: bool,
    names: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Everybody,
    Account(String),
    Arn(String),
    Service(String),
    /// Kept as they are, and nobody here: federated users, canonical users.
    Other,
}

impl PrincipalClause {
    pub(super) fn read(value: &Value, negated: bool) -> Result<Self, PolicyError> {
        let invalid = || PolicyError::new("Invalid principal in policy.");
        let names = match value {
            Value::String(text) if text == "*" => vec![Name::Everybody],
            Value::Object(kinds) if !kinds.is_empty() => {
                let mut names = Vec::new();
                for (kind, value) in kinds {
                    for text in strings(value).ok_or_else(invalid)? {
                        names.push(name(kind, text).ok_or_else(invalid)?);
                    }
                }
                names
            }
            _ => return Err(invalid()),
        };
        Ok(Self { negated, names })
    }

    /// How it means `principal`, if it does.
    pub(super) fn matches(&self, principal: &Principal) -> Option<Nearness> {
        let nearest = self.names.iter().filter_map(|name| name.matches(principal)).max();
        match (self.negated, nearest) {
            (false, nearest) => nearest,
            (true, None) => Some(Nearness::Caller),
            (true, Some(_)) => None,
        }
    }
}

fn name(kind: &str, text: &str) -> Option<Name> {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    match kind {
        "AWS" if text == "*" => Some(Name::Everybody),
        "AWS" if is_account(text) => Some(Name::Account(text.to_owned())),
        "AWS" => {
            let account = account_of(text).filter(|account| is_account(account))?;
            if text == root_arn(account) {
                return Some(Name::Account(account.to_owned()));
            }
            // No wildcard in the middle of a principal (IAM user guide, "Principal").
            (!text.contains(['*', '?'])).then(|| Name::Arn(text.to_owned()))
        }
        "Service" if !text.is_empty() => Some(Name::Service(text.to_owned())),
        "Federated" | "CanonicalUser" => Some(Name::Other),
        _ => None,
    }
}

impl Name {
    fn matches(&self, principal: &Principal) -> Option<Nearness> {
        let (named, nearness) = match (self, principal) {
            (Self::Everybody, _) => (true, Nearness::Caller),
            (Self::Account(name), Principal::Root { account }) => (name == account, Nearness::Caller),
            (Self::Account(name), other) => (other.account() == Some(name), Nearness::Account),
            (Self::Arn(name), Principal::Session { role_arn, .. }) if name == role_arn => (true, Nearness::Role),
            (Self::Arn(name), Principal::User { arn, .. } | Principal::Session { arn, .. }) => {
                (name == arn, Nearness::Caller)
            }
            (Self::Service(name), Principal::Service(service)) => (name == service, Nearness::Caller),
            _ => (false, Nearness::Account),
        };
        named.then_some(nearness)
    }
}
