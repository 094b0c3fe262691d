//! One statement: its effect, and when it applies.

use serde_json::{Map, Value};

use super::arn::ArnPattern;
use super::condition::Condition;
use super::document::{PolicyError, PolicyKind, strings};
use super::evaluate::Request;
use super::pattern::Pattern;
use super::principal::{Nearness, PrincipalClause};

/// A statement as it is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    principal: Option<PrincipalClause>,
    /// `NotAction` if `true`.
    not_action: bool,
    actions: Vec<Pattern>,
    /// `NotResource` if `true`.
    not_resource: bool,
    /// Empty in a trust policy, whose resource is its role.
    resources: Vec<ArnPattern>,
    conditions: Vec<Condition>,
}

/// What a statement that applies does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

const MEMBERS: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

impl Statement {
    pub(super) fn read(value: &Value, kind: PolicyKind, has_variables: bool) -> Result<Self, PolicyError> {
        let members = value.as_object().ok_or_else(PolicyError::syntax)?;
        if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(PolicyError::new(format!("Syntax errors in policy: unknown element {unknown}.")));
        }
        if members.get("Sid").is_some_and(|sid| !sid.is_string()) {
            return Err(PolicyError::syntax());
        }
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(PolicyError::syntax()),
        };
        let principal = principal(members, kind)?;
        let (not_action, actions) = one_of(members, "Action", "NotAction")?
            .ok_or_else(|| PolicyError::new("Policy statement must contain actions."))?;
        let actions = actions.into_iter().map(read_action).collect::<Result<_, _>>()?;
        let (not_resource, resources) = match one_of(members, "Resource", "NotResource")? {
            Some(_) if kind == PolicyKind::Trust => {
                return Err(PolicyError::new("Has prohibited field Resource"));
            }
            None if kind != PolicyKind::Trust => {
                return Err(PolicyError::new("Policy statement must contain resources."));
            }
            found => found.unwrap_or_default(),
        };
        let resources = resources.into_iter().map(|text| {
            ArnPattern::new(text, has_variables)
                .ok_or_else(|| PolicyError::new(format!("Resource {text} must be in ARN format or \"*\".")))
        });
        let resources = resources.collect::<Result<_, _>>()?;
        let conditions = Condition::read_all(members.get("Condition"), has_variables)?;
        Ok(Self { effect, principal, not_action, actions, not_resource, resources, conditions })
    }

    /// Whether it applies to `request`, and how nearly it names who asks; a statement of an identity policy, which
    /// names nobody, means its owner.
    pub(super) fn applies(&self, request: &Request<'_>) -> Option<Nearness> {
        let nearness = match &self.principal {
            Some(clause) => clause.matches(request.principal)?,
            None => Nearness::Caller,
        };
        let context = request.context;
        let action = self.actions.iter().any(|pattern| pattern.matches(request.action, context, true));
        let resource = self.resources.iter().any(|pattern| pattern.matches(request.resource, context));
        let of_resource = self.resources.is_empty() || resource != self.not_resource;
        let applies = action != self.not_action
            && of_resource
            && self.conditions.iter().all(|condition| condition.holds(context));
        applies.then_some(nearness)
    }
}

fn principal(members: &Map<String, Value>, kind: PolicyKind) -> Result<Option<PrincipalClause>, PolicyError> {
    let names_somebody = matches!(kind, PolicyKind::Resource | PolicyKind::Trust);
    match (members.get("Principal"), members.get("NotPrincipal")) {
        (Some(_), _) | (_, Some(_)) if !names_somebody => {
            Err(PolicyError::new("Policy document should not specify a principal."))
        }
        (Some(value), None) => PrincipalClause::read(value, false).map(Some),
        (None, Some(value)) => PrincipalClause::read(value, true).map(Some),
        (None, None) if !names_somebody => Ok(None),
        (None, None) => Err(PolicyError::new("Missing required field Principal")),
        (Some(_), Some(_)) => Err(PolicyError::syntax()),
    }
}

/// The texts of whichever of two members is there, and whether it is the second.
fn one_of<'v>(
    members: &'v Map<String, Value>,
    name: &str,
    negated: &str,
) -> Result<Option<(bool, Vec<&'v str>)>, PolicyError> {
    let (not, value) = match (members.get(name), members.get(negated)) {
        (None, None) => return Ok(None),
        (Some(value), None) => (false, value),
        (None, Some(value)) => (true, value),
        (Some(_), Some(_)) => return Err(PolicyError::syntax()),
    };
    let texts = strings(value).filter(|texts| !texts.is_empty()).ok_or_else(PolicyError::syntax)?;
    Ok(Some((not, texts)))
}

/// `*`, or `service:Action` with wildcards after the colon.
fn read_action(text: &str) -> Result<Pattern, PolicyError> {
    let vendor = text.split_once(':').map(|(vendor, _)| vendor);
    let well_formed = text == "*"
        || vendor.is_some_and(|vendor| {
            !vendor.is_empty() && vendor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    if well_formed {
        return Ok(Pattern::new(text, false));
    }
    Err(PolicyError::new("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."))
}
