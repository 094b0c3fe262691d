//! What must hold for every set of policies.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Context, Decision, Policies, Policy, PolicyKind, Principal, Request, evaluate};

const HOME: &str = "000000000000";
const AWAY: &str = "111111111111";

fn statement(kind: PolicyKind, effect: &'static str) -> impl Strategy<Value = Value> {
    let action = prop::sample::select(vec!["*", "lambda:*", "lambda:Get*", "lambda:InvokeFunction", "lambda:?nvoke*"]);
    let resource = prop::sample::select(vec![
        "*",
        "arn:aws:lambda:*:*:function:a*",
        "arn:aws:lambda:us-east-1:000000000000:function:b",
        "arn:aws:lambda:us-east-1:000000000000:function:${aws:username}",
    ]);
    let principal = prop::sample::select(vec![
        json!("*"),
        json!({ "AWS": HOME }),
        json!({ "AWS": AWAY }),
        json!({ "AWS": "arn:aws:iam::000000000000:user/ann" }),
        json!({ "AWS": "arn:aws:iam::111111111111:role/r" }),
        json!({ "Service": "s3.amazonaws.com" }),
    ]);
    let condition = prop::option::of(prop::sample::select(vec![
        json!({ "StringEquals": { "aws:username": ["ann", "b"] } }),
        json!({ "Null": { "aws:sourcearn": "true" } }),
        json!({ "StringNotLike": { "aws:username": "a*" } }),
    ]));
    (action, resource, principal, condition, any::<(bool, bool)>()).prop_map(
        move |(action, resource, principal, condition, (not_action, not_resource))| {
            let mut statement = json!({ "Effect": effect });
            statement[if not_action { "NotAction" } else { "Action" }] = json!(action);
            statement[if not_resource { "NotResource" } else { "Resource" }] = json!([resource]);
            if kind == PolicyKind::Resource {
                statement["Principal"] = principal;
            }
            if let Some(condition) = condition {
                statement["Condition"] = condition;
            }
            statement
        },
    )
}

fn statements(kind: PolicyKind) -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(prop_oneof![3 => statement(kind, "Allow"), 1 => statement(kind, "Deny")], 1..5)
}

fn principal() -> impl Strategy<Value = Principal> {
    let account = prop::sample::select(vec![HOME, AWAY]);
    (account, 0..5).prop_map(|(account, kind)| {
        let account = account.to_owned();
        match kind {
            0 => Principal::Anonymous,
            1 => Principal::Service("s3.amazonaws.com".into()),
            2 => Principal::Root { account },
            3 => Principal::User { arn: format!("arn:aws:iam::{account}:user/ann"), account },
            _ => Principal::Session {
                arn: format!("arn:aws:sts::{account}:assumed-role/r/s"),
                role_arn: format!("arn:aws:iam::{account}:role/r"),
                account,
            },
        }
    })
}

fn read(statements: &[Value], kind: PolicyKind) -> Policy {
    Policy::from_value(&json!({ "Version": "2012-10-17", "Statement": statements }), kind).unwrap()
}

/// A request and the statements of its identity, session and resource policies.
#[derive(Debug, Clone)]
struct Case {
    principal: Principal,
    action: &'static str,
    function: &'static str,
    context: Context,
    identity: Vec<Value>,
    session: Option<Vec<Value>>,
    resource: Option<Vec<Value>>,
}

fn case() -> impl Strategy<Value = Case> {
    let action = prop::sample::select(vec!["lambda:InvokeFunction", "lambda:GetFunction", "logs:FilterLogEvents"]);
    let function = prop::sample::select(vec!["a", "ann", "b"]);
    let context = prop::sample::select(vec![
        Context::default(),
        Context::default().with("aws:username", "ann"),
        Context::default().with("aws:username", "b").with("aws:SourceArn", "arn:aws:s3:::x"),
    ]);
    let identity = statements(PolicyKind::Identity);
    let session = prop::option::of(statements(PolicyKind::Identity));
    let resource = prop::option::of(statements(PolicyKind::Resource));
    (principal(), action, function, context, identity, session, resource).prop_map(
        |(principal, action, function, context, identity, session, resource)| Case {
            principal,
            action,
            function,
            context,
            identity,
            session,
            resource,
        },
    )
}

fn decide(case: &Case) -> Decision {
    let resource = format!("arn:aws:lambda:us-east-1:{HOME}:function:{}", case.function);
    let request = Request {
        principal: &case.principal,
        action: case.action,
        resource: &resource,
        account: HOME,
        context: &case.context,
    };
    let identity = [read(&case.identity, PolicyKind::Identity)];
    let session = case.session.as_ref().map(|session| [read(session, PolicyKind::Identity)]);
    let of_resource = case.resource.as_ref().map(|resource| read(resource, PolicyKind::Resource));
    evaluate(
        &request,
        Policies {
            identity: &identity,
            session: session.as_ref().map(|session| session.as_slice()),
            resource: of_resource.as_ref(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A Deny that applies wins, wherever it stands.
    #[test]
    fn deny_always_wins(case in case(), place in 0..3_usize) {
        let deny = json!({ "Effect": "Deny", "Action": "*", "Resource": "*" });
        let mut case = case;
        match place {
            0 => case.identity.insert(0, deny),
            1 => case.session.get_or_insert_default().push(deny),
            _ => {
                let mut deny = deny;
                deny["Principal"] = json!("*");
                case.resource.get_or_insert_default().push(deny);
            }
        }
        prop_assert_ne!(decide(&case), Decision::Allowed);
    }

    /// One more Deny never lets anybody in.
    #[test]
    fn a_deny_never_allows(
        case in case(), identity in statement(PolicyKind::Identity, "Deny"), resource in statement(PolicyKind::Resource, "Deny"),
    ) {
        let mut more = case.clone();
        more.identity.push(identity);
        more.resource.get_or_insert_default().push(resource);
        if decide(&more) == Decision::Allowed {
            prop_assert_eq!(decide(&case), Decision::Allowed);
        }
    }

    /// One more Allow never shuts anybody out.
    #[test]
    fn an_allow_never_denies(case in case(), identity in statement(PolicyKind::Identity, "Allow")) {
        let mut more = case.clone();
        more.identity.push(identity);
        if decide(&case) == Decision::Allowed {
            prop_assert_eq!(decide(&more), Decision::Allowed);
        }
    }

    #[test]
    fn order_does_not_matter(case in case()) {
        let mut turned = case.clone();
        turned.identity.reverse();
        for statements in [&mut turned.session, &mut turned.resource].into_iter().flatten() {
            statements.reverse();
        }
        prop_assert_eq!(decide(&case), decide(&turned));
    }

    /// Who is of another account gets in only by a resource policy.
    #[test]
    fn strangers_need_the_resource_policy(case in case()) {
        let mut without = case;
        without.resource = None;
        if without.principal.account() != Some(HOME) {
            prop_assert_ne!(decide(&without), Decision::Allowed);
        }
    }

    /// Whatever is sent as a policy is read or refused.
    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,200}", broken in 0..400_usize) {
        for kind in [PolicyKind::Identity, PolicyKind::Resource, PolicyKind::Trust] {
            let _ = Policy::parse(&text, kind);
            let mut near = json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow", "Principal": { "AWS": text }, "Action": ["lambda:*", text], "Resource": text,
                    "Condition": { "StringLike": { text.clone(): text } },
                }],
            })
            .to_string();
            let _ = Policy::parse(&near, kind);
            if near.is_char_boundary(broken.min(near.len())) {
                near.truncate(broken);
            }
            let _ = Policy::parse(&near, kind);
        }
    }
}
