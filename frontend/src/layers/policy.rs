//! Policies of layer versions: who besides the owner may use one (AWS: AddLayerVersionPermission).

use hearth_domain::AccountId;
use serde::{Deserialize, Serialize};

/// The one action there is.
const ACTION: &str = "lambda:GetLayerVersion";
/// Largest policy, bytes (AWS Lambda developer guide, "Lambda quotas": 20 KB).
const POLICY_MAX_BYTES: usize = 20 * 1024;

/// The statements on one version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LayerPolicy {
    /// In the order in which they were added.
    pub statements: Vec<LayerStatement>,
    /// Changes with every change of the statements; empty while there was none.
    pub revision: String,
}

/// Allows [`ACTION`] to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStatement {
    /// `StatementId`
    pub id: String,
    /// `Principal`: an account's number, the ARN of its root, or `*`.
    pub principal: String,
    /// `OrganizationId`: with `*`, only accounts of this organization.
    pub organization: Option<String>,
}

/// A change of a policy that did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyChangeError {
    /// The statement's id is taken.
    #[error(
        "The statement id ({0}) provided already exists. Please provide a new statement id, or remove the existing \
         statement."
    )]
    Exists(String),
    /// There is no such statement.
    #[error("Statement {0} is not found in resource policy.")]
    NotFound(String),
    /// The caller had read another policy.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the \
         latest Revision Id"
    )]
    Stale,
    /// It would become too large.
    #[error("The final policy size ({0}) is bigger than the limit ({POLICY_MAX_BYTES}).")]
    TooLarge(usize),
}

impl LayerPolicy {
    /// With one more statement, under a new revision.
    pub fn with(
        &self,
        statement: LayerStatement,
        expected: Option<&str>,
        revision: String,
        resource: &str,
    ) -> Result<Self, PolicyChangeError> {
        self.check_revision(expected)?;
        if self.statements.iter().any(|known| known.id == statement.id) {
            return Err(PolicyChangeError::Exists(statement.id));
        }
        let mut statements = self.statements.clone();
        statements.push(statement);
        let policy = Self { statements, revision };
        let bytes = policy.document(resource).len();
        if bytes > POLICY_MAX_BYTES { Err(PolicyChangeError::TooLarge(bytes)) } else { Ok(policy) }
    }

    /// Without a statement, under a new revision.
    pub fn without(&self, id: &str, expected: Option<&str>, revision: String) -> Result<Self, PolicyChangeError> {
        if !self.statements.iter().any(|known| known.id == id) {
            return Err(PolicyChangeError::NotFound(id.to_owned()));
        }
        self.check_revision(expected)?;
        let statements = self.statements.iter().filter(|known| known.id != id).cloned().collect();
        Ok(Self { statements, revision })
    }

    /// The policy as a document of IAM's language, members in AWS's order.
    #[must_use]
    pub fn document(&self, resource: &str) -> String {
        let statement = self.statements.iter().map(|statement| statement.view(resource)).collect();
        written(&PolicyView { version: "2012-10-17", id: "default", statement })
    }

    /// Whether an account other than the owner's may use the version. Hearth knows no organizations, so a statement for
    /// one lets nobody in.
    #[must_use]
    pub fn permits(&self, caller: &AccountId) -> bool {
        self.statements.iter().any(|statement| statement.permits(caller))
    }

    fn check_revision(&self, expected: Option<&str>) -> Result<(), PolicyChangeError> {
        match expected.filter(|expected| !expected.is_empty()) {
            Some(expected) if expected != self.revision => Err(PolicyChangeError::Stale),
            _ => Ok(()),
        }
    }
}

impl LayerStatement {
    /// The statement in IAM's language, members in AWS's order.
    #[must_use]
    pub fn document(&self, resource: &str) -> String {
        written(&self.view(resource))
    }

    fn view<'a>(&'a self, resource: &'a str) -> StatementView<'a> {
        let principal = match self.principal.as_str() {
            "*" => PrincipalView::Everybody("*"),
            account if AccountId::new(account).is_ok() => {
                PrincipalView::Account { aws: format!("arn:aws:iam::{account}:root") }
            }
            arn => PrincipalView::Account { aws: arn.to_owned() },
        };
        let of = |organization: &'a String| Condition { string_equals: Organization { id: organization } };
        let condition = self.organization.as_ref().map(of);
        StatementView { sid: &self.id, effect: "Allow", principal, action: ACTION, resource, condition }
    }

    fn permits(&self, caller: &AccountId) -> bool {
        let principal = self.principal.as_str();
        let named =
            principal == "*" || principal == caller.as_str() || principal == format!("arn:aws:iam::{caller}:root");
        named && self.organization.is_none()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyView<'a> {
    version: &'static str,
    id: &'static str,
    statement: Vec<StatementView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatementView<'a> {
    sid: &'a str,
    effect: &'static str,
    principal: PrincipalView,
    action: &'static str,
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PrincipalView {
    Everybody(&'static str),
    Account {
        #[serde(rename = "AWS")]
        aws: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Condition<'a> {
    string_equals: Organization<'a>,
}

#[derive(Serialize)]
struct Organization<'a> {
    #[serde(rename = "aws:PrincipalOrgID")]
    id: &'a str,
}

/// Strings and lists of them always make a document.
fn written(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:layer:numpy:1";

    fn statement(id: &str, principal: &str, organization: Option<&str>) -> LayerStatement {
        LayerStatement { id: id.into(), principal: principal.into(), organization: organization.map(str::to_owned) }
    }

    fn policy(statements: &[LayerStatement]) -> LayerPolicy {
        LayerPolicy { statements: statements.to_vec(), revision: "r1".into() }
    }

    #[test]
    fn statements_are_told_in_the_language_of_policies() {
        let told = |statement: LayerStatement| statement.document(ARN);
        let all = told(statement("s1", "*", Some("o-1234567890")));
        assert!(all.contains(r#""Principal":"*""#), "{all}");
        assert!(all.contains(r#""Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}}"#), "{all}");
        let account = told(statement("s1", "111111111111", None));
        assert!(account.contains(r#""Principal":{"AWS":"arn:aws:iam::111111111111:root"}"#), "{account}");
    }

    #[test]
    fn a_policy_lets_in_whom_it_names() {
        let [friend, stranger] = ["111111111111", "222222222222"].map(|id| AccountId::new(id).unwrap());
        let named = policy(&[statement("a", "111111111111", None)]);
        assert!(named.permits(&friend) && !named.permits(&stranger));
        assert!(policy(&[statement("a", "*", None)]).permits(&stranger));
        assert!(!policy(&[statement("a", "*", Some("o-1234567890"))]).permits(&stranger));
        assert!(!policy(&[]).permits(&friend));
    }

    #[test]
    fn changes_are_refused_with_a_reason() {
        let one = policy(&[statement("a", "*", None)]);
        let add = |id: &str, expected| one.with(statement(id, "*", None), expected, "r2".into(), ARN);
        assert_eq!(add("a", None), Err(PolicyChangeError::Exists("a".into())));
        assert_eq!(add("b", Some("r0")), Err(PolicyChangeError::Stale));
        assert_eq!(add("b", Some("r1")).unwrap().statements.len(), 2);
        assert_eq!(one.without("b", None, "r2".into()), Err(PolicyChangeError::NotFound("b".into())));
        assert_eq!(one.without("a", Some("r1"), "r2".into()).unwrap().statements, []);
        let many = (0..200).try_fold(policy(&[]), |policy, n| {
            policy.with(statement(&format!("s{n}"), "*", None), None, "r".into(), ARN)
        });
        assert!(matches!(many, Err(PolicyChangeError::TooLarge(bytes)) if bytes > POLICY_MAX_BYTES));
    }
}
