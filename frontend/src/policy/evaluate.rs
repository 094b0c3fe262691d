//! The decision.

use super::principal::Nearness;
use super::statement::Effect;
use super::{Context, Policy, Principal};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// `lambda:InvokeFunction`
    pub action: &'a str,
    /// ARN of what it is done to, or `*`.
    pub resource: &'a str,
    /// The account that owns the resource.
    pub account: &'a str,
    /// What else is known of the request.
    pub context: &'a Context,
}

/// The policies that apply to a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policies<'a> {
    /// Of the user or the role.
    pub identity: &'a [Policy],
    /// Of the session, if it was begun with some: each list narrows (`AssumeRole`, `Policy` and `PolicyArns`).
    pub session: Option<&'a [Policy]>,
    /// Of the resource.
    pub resource: Option<&'a Policy>,
}

/// The outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Allowed,
    /// It may not.
    Refused(Refusal),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// An identity policy denies it.
    DeniedByIdentity,
    /// A session policy denies it.
    DeniedBySession,
    /// The resource's policy denies it.
    DeniedByResource,
    /// No identity policy allows it.
    NoIdentity,
    /// No session policy allows it.
    NoSession,
    /// The resource's policy does not allow it to a stranger.
    NoResource,
}

impl Refusal {
    /// How AWS ends "… is not authorized to perform: ACTION on resource: ARN" (IAM user guide, "Troubleshoot access
    /// denied error messages").
    #[must_use]
    pub fn because(self, action: &str) -> String {
        let of = match self {
            Self::DeniedByIdentity => return "with an explicit deny in an identity-based policy".to_owned(),
            Self::DeniedBySession => return "with an explicit deny in a session policy".to_owned(),
            Self::DeniedByResource => return "with an explicit deny in a resource-based policy".to_owned(),
            Self::NoIdentity => "identity-based",
            Self::NoSession => "session",
            Self::NoResource => "resource-based",
        };
        format!("because no {of} policy allows the {action} action")
    }
}

/// What one set of policies says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Denied,
    Allowed(Nearness),
    Silent,
}

fn verdict<'p>(policies: impl IntoIterator<Item = &'p Policy>, request: &Request<'_>) -> Verdict {
    let mut verdict = Verdict::Silent;
    for statement in policies.into_iter().flat_map(|policy| &policy.statements) {
        let Some(nearness) = statement.applies(request) else { continue };
        verdict = match (statement.effect, verdict) {
            (Effect::Deny, _) => return Verdict::Denied,
            (Effect::Allow, Verdict::Allowed(before)) => Verdict::Allowed(before.max(nearness)),
            (Effect::Allow, _) => Verdict::Allowed(nearness),
        };
    }
    verdict
}

/// Decides `request` by all policies that apply.
#[must_use]
pub fn evaluate(request: &Request<'_>, policies: Policies<'_>) -> Decision {
    let resource = verdict(policies.resource, request);
    let identity = verdict(policies.identity, request);
    let session = policies.session.map(|policies| verdict(policies, request));
    if identity == Verdict::Denied {
        return Decision::Refused(Refusal::DeniedByIdentity);
    }
    if session == Some(Verdict::Denied) {
        return Decision::Refused(Refusal::DeniedBySession);
    }
    if resource == Verdict::Denied {
        return Decision::Refused(Refusal::DeniedByResource);
    }
    let by_identity = match (is_root(request.principal), identity, session) {
        (true, _, _) | (_, Verdict::Allowed(_), None | Some(Verdict::Allowed(_))) => Ok(()),
        (_, Verdict::Allowed(_), Some(_)) => Err(Refusal::NoSession),
        _ => Err(Refusal::NoIdentity),
    };
    let named = match resource {
        Verdict::Allowed(nearness) => Some(nearness),
        _ => None,
    };
    let session_allows = !matches!(session, Some(Verdict::Silent));
    let decided = if request.principal.account() == Some(request.account) {
        match named {
            Some(Nearness::Caller) => Ok(()),
            Some(Nearness::Role) if session_allows => Ok(()),
            Some(Nearness::Role) => Err(Refusal::NoSession),
            Some(Nearness::Account) | None => by_identity,
        }
    } else if named.is_none() {
        Err(Refusal::NoResource)
    } else if request.principal.account().is_none() {
        // Services and strangers have no policies of their own.
        Ok(())
    } else {
        by_identity
    };
    decided.map_or_else(Decision::Refused, |()| Decision::Allowed)
}

fn is_root(principal: &Principal) -> bool {
    matches!(principal, Principal::Root { .. })
}

/// Whether one resource policy by itself lets `principal` do `action` on `resource`: for function URLs, layers and trust.
#[must_use]
pub fn allows(policy: &Policy, principal: &Principal, action: &str, resource: &str, context: &Context) -> bool {
    let request = Request { principal, action, resource, account: "", context };
    matches!(verdict([policy], &request), Verdict::Allowed(_))
}
