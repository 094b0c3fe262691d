//! Policies: a document that is understood decides, and a `Deny` of everything beside it wins.

use super::lines;
use crate::policy::{Context, Decision, Policies, Policy, PolicyKind, Principal, Request, allows, evaluate};

const OWNER: &str = "111111111111";
const DENIAL: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;

/// Lines: action, resource, `aws:SourceArn`, a value of a condition; then a document.
pub fn policies(data: &[u8]) {
    let ([action, resource, source, value], document) = lines(data);
    let context = Context::default()
        .with("aws:SourceArn", source)
        .with("aws:username", value.clone())
        .with("aws:CurrentTime", value.clone())
        .with("lambda:FunctionUrlAuthType", value);
    for kind in [PolicyKind::Identity, PolicyKind::Trust, PolicyKind::Resource] {
        let Ok(policy) = Policy::parse(&document, kind) else { continue };
        for principal in principals() {
            let request = Request {
                principal: &principal,
                action: &action,
                resource: &resource,
                account: OWNER,
                context: &context,
            };
            decide(&request, &policy, kind);
        }
    }
}

fn principals() -> [Principal; 4] {
    let account = OWNER.to_owned();
    [
        Principal::Anonymous,
        Principal::Service("s3.amazonaws.com".to_owned()),
        Principal::User { account: account.clone(), arn: format!("arn:aws:iam::{OWNER}:user/one") },
        Principal::Session {
            account,
            arn: format!("arn:aws:sts::{OWNER}:assumed-role/two/session"),
            role_arn: format!("arn:aws:iam::{OWNER}:role/two"),
        },
    ]
}

fn decide(request: &Request<'_>, policy: &Policy, kind: PolicyKind) {
    let own = std::slice::from_ref(policy);
    let policies = match kind {
        PolicyKind::Identity => Policies { identity: own, ..Policies::default() },
        PolicyKind::Trust | PolicyKind::Resource => Policies { resource: Some(policy), ..Policies::default() },
    };
    assert_eq!(evaluate(request, policies), evaluate(request, policies), "twice the same question");
    let allowed = allows(policy, request.principal, request.action, request.resource, request.context);
    if kind == PolicyKind::Resource && !allowed {
        assert_ne!(evaluate(request, policies), Decision::Allowed, "what the only policy does not allow");
    }
    let Ok(denial) = Policy::parse(DENIAL, PolicyKind::Identity) else { unreachable!("a policy of ours") };
    let with_denial = [policy.clone(), denial];
    if matches!(request.principal, Principal::User { .. } | Principal::Session { .. }) {
        let denied = evaluate(request, Policies { identity: &with_denial, ..policies });
        assert_ne!(denied, Decision::Allowed, "a denial wins");
    }
}
