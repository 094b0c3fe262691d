//! Resource policies of functions, versions and aliases: who else may use them.
//!
//! One document each, at `account/function` or `account/function/QUALIFIER`, so that it goes with what it is about.

use std::sync::{Arc, OnceLock};

use hearth_domain::{AccountId, FunctionName, RevisionId};
use hearth_store::Document;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::policy::{Policy, PolicyError, PolicyKind};

/// A resource policy, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub struct ResourcePolicy {
    /// In the order they were added; never empty.
    pub statements: Vec<PermissionStatement>,
    /// Changes with every change of it.
    pub revision: RevisionId,
    /// As it is evaluated, once it was.
    #[serde(skip)]
    compiled: OnceLock<Option<Arc<Policy>>>,
}

impl Document for ResourcePolicy {
    const KIND: &'static str = "function-policy";
}

/// One permission, as AddPermission and GetPolicy show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PermissionStatement {
    /// Its name.
    pub sid: String,
    /// `Allow`
    pub effect: String,
    /// `"*"`, `{"AWS": …}` or `{"Service": …}`
    pub principal: Value,
    /// `lambda:InvokeFunction`
    pub action: String,
    /// The function's ARN, qualified as it was asked for.
    pub resource: String,
    /// By operator and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Value>,
}

/// A policy as GetPolicy shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    version: &'static str,
    id: &'static str,
    statement: &'a [PermissionStatement],
}

impl ResourcePolicy {
    /// A policy of these statements.
    #[must_use]
    pub fn new(statements: Vec<PermissionStatement>, revision: RevisionId) -> Self {
        Self { statements, revision, compiled: OnceLock::new() }
    }

    /// Where the policy of a function (`None`) or of one version or alias lies.
    #[must_use]
    pub fn path(account: &AccountId, function: &FunctionName, qualifier: Option<&str>) -> String {
        match qualifier {
            None => format!("{account}/{function}"),
            Some(qualifier) => format!("{account}/{function}/{qualifier}"),
        }
    }

    /// The document that GetPolicy shows.
    #[must_use]
    pub fn text(&self) -> String {
        let shown = Shown { version: "2012-10-17", id: "default", statement: &self.statements };
        serde_json::to_string(&shown).unwrap_or_else(|_| unreachable!("a policy has only text and JSON"))
    }

    /// As it is evaluated; `None`, which allows nothing, if a statement can't be understood.
    #[must_use]
    pub fn policy(&self) -> Option<Arc<Policy>> {
        self.compiled.get_or_init(|| Self::read(&self.text()).ok().map(Arc::new)).clone()
    }

    fn read(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text, PolicyKind::Resource)
    }
}

impl PermissionStatement {
    /// Whether a policy can have it.
    pub fn check(&self) -> Result<(), PolicyError> {
        Policy::from_value(&json!({ "Version": "2012-10-17", "Statement": [self] }), PolicyKind::Resource).map(|_| ())
    }
}

/// `Principal` of a statement, from the one that AddPermission takes: everybody, an account, an ARN or a service.
#[must_use]
pub fn principal(given: &str) -> Option<Value> {
    let is_account = given.len() == 12 && given.bytes().all(|byte| byte.is_ascii_digit());
    if given == "*" {
        Some(json!("*"))
    } else if is_account {
        Some(json!({ "AWS": format!("arn:aws:iam::{given}:root") }))
    } else if given.starts_with("arn:") {
        Some(json!({ "AWS": given }))
    } else if given.ends_with(".amazonaws.com") || given.ends_with(".amazon.com") {
        Some(json!({ "Service": given }))
    } else {
        None
    }
}
