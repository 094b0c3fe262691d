//! A policy document, read and checked.

use serde_json::Value;

use super::statement::Statement;

/// What a document is for: it decides which elements it must and must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// Of a user or role: no principal, some resource.
    Identity,
    /// Of a role: who may assume it. A principal, no resource.
    Trust,
    /// Of a function or layer: a principal and a resource.
    Resource,
}

/// A document that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PolicyError {
    message: String,
}

impl PolicyError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    pub(super) fn syntax() -> Self {
        Self::new("Syntax errors in policy.")
    }
}

/// A policy that was understood whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(super) statements: Vec<Statement>,
}

impl Policy {
    /// Reads a document.
    pub fn parse(text: &str, kind: PolicyKind) -> Result<Self, PolicyError> {
        let value: Value = serde_json::from_str(text).map_err(|_| PolicyError::syntax())?;
        Self::from_value(&value, kind)
    }

    /// Reads a document that is JSON already.
    pub fn from_value(value: &Value, kind: PolicyKind) -> Result<Self, PolicyError> {
        let members = value.as_object().ok_or_else(PolicyError::syntax)?;
        if members.keys().any(|name| !["Version", "Id", "Statement"].contains(&name.as_str())) {
            return Err(PolicyError::syntax());
        }
        // Variables came with the second version; before it they are plain text (IAM user guide, "Version").
        let has_variables = match members.get("Version").map(Value::as_str) {
            Some(Some("2012-10-17")) => true,
            None | Some(Some("2008-10-17")) => false,
            Some(_) => return Err(PolicyError::syntax()),
        };
        let statements = match members.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => {
                statements.iter().map(|statement| Statement::read(statement, kind, has_variables)).collect()
            }
            Some(statement @ Value::Object(_)) => {
                Statement::read(statement, kind, has_variables).map(|statement| vec![statement])
            }
            _ => Err(PolicyError::syntax()),
        };
        Ok(Self { statements: statements? })
    }
}

/// One text or a list of texts.
pub(super) fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
