//! The rules of AWS's documentation, one by one.

use serde_json::{Value, json};

use super::{
    Context, Decision, Policies, Policy, PolicyKind, Principal, Refusal, Request, allows, evaluate, managed_policies,
    managed_policy,
};

const HOME: &str = "000000000000";
const AWAY: &str = "111111111111";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:echo";
const INVOKE: &str = "lambda:InvokeFunction";

fn user(account: &str) -> Principal {
    Principal::User { account: account.into(), arn: format!("arn:aws:iam::{account}:user/ann") }
}

fn session(account: &str) -> Principal {
    Principal::Session {
        account: account.into(),
        arn: format!("arn:aws:sts::{account}:assumed-role/deploy/s1"),
        role_arn: format!("arn:aws:iam::{account}:role/deploy"),
    }
}

fn root(account: &str) -> Principal {
    Principal::Root { account: account.into() }
}

fn policy(statements: Value, kind: PolicyKind) -> Policy {
    Policy::from_value(&json!({ "Version": "2012-10-17", "Statement": statements }), kind).unwrap()
}

fn identity(effect: &str, action: &str, resource: &str) -> Policy {
    policy(json!({ "Effect": effect, "Action": action, "Resource": resource }), PolicyKind::Identity)
}

fn resource(effect: &str, principal: Value) -> Policy {
    let statement = json!({ "Effect": effect, "Principal": principal, "Action": INVOKE, "Resource": FUNCTION });
    policy(json!([statement]), PolicyKind::Resource)
}

fn decide(principal: &Principal, identity: &[Policy], session: Option<&[Policy]>, of: Option<&Policy>) -> Decision {
    let context = Context::default();
    let request = Request { principal, action: INVOKE, resource: FUNCTION, account: HOME, context: &context };
    evaluate(&request, Policies { identity, session, resource: of })
}

const ALLOWED: Decision = Decision::Allowed;

fn refused(refusal: Refusal) -> Decision {
    Decision::Refused(refusal)
}

#[test]
fn in_one_account_either_policy_will_do() {
    let (allow, deny) = (identity("Allow", "lambda:Invoke*", "*"), identity("Deny", "*", "*"));
    assert_eq!(decide(&user(HOME), &[], None, None), refused(Refusal::NoIdentity));
    assert_eq!(decide(&user(HOME), std::slice::from_ref(&allow), None, None), ALLOWED);
    let both = [allow.clone(), deny.clone()];
    assert_eq!(decide(&user(HOME), &both, None, None), refused(Refusal::DeniedByIdentity));
    let named = resource("Allow", json!({ "AWS": "arn:aws:iam::000000000000:user/ann" }));
    assert_eq!(decide(&user(HOME), &[], None, Some(&named)), ALLOWED);
    assert_eq!(decide(&user(HOME), &[deny], None, Some(&named)), refused(Refusal::DeniedByIdentity));
    let whole_account = resource("Allow", json!({ "AWS": HOME }));
    assert_eq!(decide(&user(HOME), &[], None, Some(&whole_account)), refused(Refusal::NoIdentity));
    let not_ann = resource("Deny", json!({ "AWS": "arn:aws:iam::000000000000:user/ann" }));
    assert_eq!(decide(&user(HOME), &[allow], None, Some(&not_ann)), refused(Refusal::DeniedByResource));
    assert_eq!(decide(&root(HOME), &[], None, None), ALLOWED);
    assert_eq!(decide(&root(HOME), &[], None, Some(&resource("Deny", json!("*")))), refused(Refusal::DeniedByResource));
}

#[test]
fn across_accounts_both_must_allow() {
    let allow = [identity("Allow", "*", "*")];
    assert_eq!(decide(&user(AWAY), &allow, None, None), refused(Refusal::NoResource));
    for principal in [json!(AWAY), json!("arn:aws:iam::111111111111:root"), json!("arn:aws:iam::111111111111:user/ann")]
    {
        let shared = resource("Allow", json!({ "AWS": [principal] }));
        assert_eq!(decide(&user(AWAY), &allow, None, Some(&shared)), ALLOWED);
        assert_eq!(decide(&user(AWAY), &[], None, Some(&shared)), refused(Refusal::NoIdentity));
    }
    let shared = resource("Allow", json!({ "AWS": AWAY }));
    assert_eq!(decide(&root(AWAY), &[], None, Some(&shared)), ALLOWED);
    assert_eq!(decide(&root(AWAY), &[], None, None), refused(Refusal::NoResource));
    let to_bob = resource("Allow", json!({ "AWS": "arn:aws:iam::111111111111:user/bob" }));
    assert_eq!(decide(&user(AWAY), &allow, None, Some(&to_bob)), refused(Refusal::NoResource));
}

#[test]
fn a_session_policy_narrows() {
    let allow = [identity("Allow", "*", "*")];
    let narrow = [identity("Allow", "lambda:Get*", "*")];
    assert_eq!(decide(&session(HOME), &allow, None, None), ALLOWED);
    assert_eq!(decide(&session(HOME), &allow, Some(&narrow), None), refused(Refusal::NoSession));
    assert_eq!(decide(&session(HOME), &allow, Some(&allow), None), ALLOWED);
    assert_eq!(decide(&session(HOME), &[], Some(&allow), None), refused(Refusal::NoIdentity));
    let deny = [identity("Deny", INVOKE, "*")];
    assert_eq!(decide(&session(HOME), &allow, Some(&deny), None), refused(Refusal::DeniedBySession));
    let to_role = resource("Allow", json!({ "AWS": "arn:aws:iam::000000000000:role/deploy" }));
    assert_eq!(decide(&session(HOME), &[], None, Some(&to_role)), ALLOWED);
    assert_eq!(decide(&session(HOME), &[], Some(&narrow), Some(&to_role)), refused(Refusal::NoSession));
    let to_session = resource("Allow", json!({ "AWS": "arn:aws:sts::000000000000:assumed-role/deploy/s1" }));
    assert_eq!(decide(&session(HOME), &[], Some(&narrow), Some(&to_session)), ALLOWED);
}

#[test]
fn services_and_strangers_need_the_resource_policy() {
    let context = |key: &str, value: &str| Context::default().with(key, value);
    let statement = json!({
        "Effect": "Allow", "Principal": { "Service": "s3.amazonaws.com" }, "Action": INVOKE, "Resource": FUNCTION,
        "Condition": { "ArnLike": { "AWS:SourceArn": "arn:aws:s3:::uploads*" } },
    });
    let of_s3 = policy(statement, PolicyKind::Resource);
    let (s3, sns) = (Principal::Service("s3.amazonaws.com".into()), Principal::Service("sns.amazonaws.com".into()));
    let from = |bucket: &str| context("aws:SourceArn", &format!("arn:aws:s3:::{bucket}"));
    assert!(allows(&of_s3, &s3, INVOKE, FUNCTION, &from("uploads-1")));
    assert!(!allows(&of_s3, &s3, INVOKE, FUNCTION, &from("others")));
    assert!(!allows(&of_s3, &s3, INVOKE, FUNCTION, &Context::default()));
    assert!(!allows(&of_s3, &sns, INVOKE, FUNCTION, &from("uploads-1")));
    let statement = json!({
        "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": FUNCTION,
        "Condition": { "StringEquals": { "lambda:FunctionUrlAuthType": "NONE" } },
    });
    let public = policy(statement, PolicyKind::Resource);
    let url = "lambda:InvokeFunctionUrl";
    for principal in [Principal::Anonymous, user(AWAY), root(HOME)] {
        assert!(allows(&public, &principal, url, FUNCTION, &context("lambda:FunctionUrlAuthType", "NONE")));
        assert!(!allows(&public, &principal, url, FUNCTION, &context("lambda:FunctionUrlAuthType", "AWS_IAM")));
    }
}

#[test]
fn everything_but() {
    let holds = |statement: Value, principal: &Principal, action: &str, resource: &str| {
        let policy = policy(
            json!([{ "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" }, statement]),
            PolicyKind::Resource,
        );
        allows(&policy, principal, action, resource, &Context::default())
    };
    let not_action = json!({ "Effect": "Deny", "Principal": "*", "NotAction": "lambda:Get*", "Resource": "*" });
    assert!(holds(not_action.clone(), &user(HOME), "lambda:getfunction", FUNCTION));
    assert!(!holds(not_action, &user(HOME), INVOKE, FUNCTION));
    let not_resource = json!({ "Effect": "Deny", "Principal": "*", "Action": "*", "NotResource": [FUNCTION, "arn:aws:lambda:*:*:function:echo:*"] });
    assert!(holds(not_resource.clone(), &user(HOME), INVOKE, FUNCTION));
    assert!(!holds(not_resource, &user(HOME), INVOKE, "arn:aws:lambda:us-east-1:000000000000:function:other"));
    let not_principal = json!({ "Effect": "Deny", "NotPrincipal": { "AWS": HOME }, "Action": "*", "Resource": "*" });
    assert!(holds(not_principal.clone(), &user(HOME), INVOKE, FUNCTION));
    assert!(!holds(not_principal, &user(AWAY), INVOKE, FUNCTION));
}

/// (operator, value of the policy, values of the request, whether it holds)
#[test]
fn condition_operators() {
    let cases: &[(&str, Value, &[&str], bool)] = &[
        ("StringEquals", json!(["a", "b"]), &["b"], true),
        ("StringEquals", json!("A"), &["a"], false),
        ("StringEquals", json!("a*"), &["ab"], false),
        ("StringEquals", json!("a"), &[], false),
        ("StringEqualsIfExists", json!("a"), &[], true),
        ("StringEqualsIfExists", json!("a"), &["b"], false),
        ("StringNotEquals", json!(["a", "b"]), &["b"], false),
        ("StringNotEquals", json!(["a", "b"]), &["c"], true),
        ("StringNotEquals", json!("a"), &[], true),
        ("StringEqualsIgnoreCase", json!("AbC"), &["aBc"], true),
        ("StringNotEqualsIgnoreCase", json!("AbC"), &["aBc"], false),
        ("StringLike", json!("a?c*"), &["abcd"], true),
        ("StringNotLike", json!("a*"), &["abcd"], false),
        ("ArnEquals", json!("arn:aws:sns:*:*:t*"), &["arn:aws:sns:r:1:topic"], true),
        ("ArnLike", json!("arn:aws:sns:*:t*"), &["arn:aws:sns:r:1:topic"], false),
        ("ArnNotLike", json!("arn:aws:sns:*:*:t*"), &["arn:aws:sns:r:1:topic"], false),
        ("NumericEquals", json!(10), &["10.0"], true),
        ("NumericNotEquals", json!("10"), &["10"], false),
        ("NumericLessThan", json!("10"), &["9"], true),
        ("NumericLessThanEquals", json!("10"), &["10"], true),
        ("NumericGreaterThan", json!("10"), &["10"], false),
        ("NumericGreaterThanEquals", json!("10"), &["ten"], false),
        ("DateGreaterThan", json!("2020-04-01T00:00:00Z"), &["2020-04-01T00:00:01Z"], true),
        ("DateLessThan", json!("2020-04-01T00:00:00Z"), &["1585699199"], true),
        ("DateEquals", json!("2020-04-01"), &["2020-04-01T00:00:00Z"], true),
        ("DateNotEquals", json!("2020-04-01"), &["2020-04-01T00:00:00Z"], false),
        ("Bool", json!(true), &["true"], true),
        ("Bool", json!("false"), &["true"], false),
        ("IpAddress", json!("203.0.113.0/24"), &["203.0.113.77"], true),
        ("IpAddress", json!(["203.0.113.0/24", "2001:db8::/32"]), &["2001:db8:1::1"], true),
        ("IpAddress", json!("203.0.113.1"), &["203.0.113.2"], false),
        ("IpAddress", json!("0.0.0.0/0"), &["::1"], false),
        ("NotIpAddress", json!("203.0.113.0/24"), &["203.0.113.77"], false),
        ("Null", json!("true"), &[], true),
        ("Null", json!("false"), &[], false),
        ("Null", json!(false), &["x"], true),
        ("ForAllValues:StringEquals", json!(["a", "b"]), &["a", "b"], true),
        ("ForAllValues:StringEquals", json!(["a", "b"]), &["a", "c"], false),
        ("ForAllValues:StringEquals", json!(["a"]), &[], true),
        ("ForAnyValue:StringEquals", json!(["a", "b"]), &["c", "b"], true),
        ("ForAnyValue:StringEquals", json!(["a", "b"]), &["c", "d"], false),
        ("ForAnyValue:StringEquals", json!(["a"]), &[], false),
        ("ForAllValues:StringNotEquals", json!(["a"]), &["b", "c"], true),
        ("ForAllValues:StringNotLike", json!(["a*"]), &["b", "ab"], false),
        ("ForAnyValue:StringNotEquals", json!(["a"]), &["a", "b"], true),
    ];
    for (operator, wanted, found, holds) in cases {
        let statement = json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { *operator: { "aws:TagKeys": wanted } } });
        let identity = [policy(statement, PolicyKind::Identity)];
        let context = found.iter().fold(Context::default(), |context, value| context.with("AWS:tagkeys", *value));
        let principal = user(HOME);
        let request =
            Request { principal: &principal, action: INVOKE, resource: FUNCTION, account: HOME, context: &context };
        let decision = evaluate(&request, Policies { identity: &identity, ..Policies::default() });
        assert_eq!(decision == ALLOWED, *holds, "{operator} {wanted} {found:?}");
    }
}

#[test]
fn variables_only_in_the_second_version() {
    let document = |version: &str| {
        let resource = "arn:aws:lambda:*:*:function:${aws:username}-*";
        let text =
            json!({ "Version": version, "Statement": { "Effect": "Allow", "Action": "*", "Resource": resource } });
        Policy::parse(&text.to_string(), PolicyKind::Identity).unwrap()
    };
    let context = Context::default().with("aws:username", "ann");
    let principal = user(HOME);
    let decide = |policy: Policy, name: &str| {
        let resource = format!("arn:aws:lambda:us-east-1:{HOME}:function:{name}");
        let request =
            Request { principal: &principal, action: INVOKE, resource: &resource, account: HOME, context: &context };
        evaluate(&request, Policies { identity: &[policy], ..Policies::default() })
    };
    assert_eq!(decide(document("2012-10-17"), "ann-1"), ALLOWED);
    assert_eq!(decide(document("2012-10-17"), "bob-1"), refused(Refusal::NoIdentity));
    assert_eq!(decide(document("2008-10-17"), "ann-1"), refused(Refusal::NoIdentity));
}

#[test]
fn what_is_no_policy_is_refused() {
    let good = json!({ "Effect": "Allow", "Action": "lambda:*", "Resource": "*" });
    let with = |name: &str, value: Value| {
        let mut statement = good.clone();
        statement[name] = value;
        json!({ "Version": "2012-10-17", "Statement": [statement] })
    };
    assert!(Policy::from_value(&with("Sid", json!("x")), PolicyKind::Identity).is_ok());
    for (document, says) in [
        (json!([]), "Syntax errors in policy."),
        (json!({ "Version": "2012-10-17" }), "Syntax errors in policy."),
        (json!({ "Version": "2012-10-17", "Statement": [] }), "Syntax errors in policy."),
        (json!({ "Version": "2013-01-01", "Statement": [good] }), "Syntax errors in policy."),
        (with("Effect", json!("allow")), "Syntax errors in policy."),
        (with("Action", json!(1)), "Syntax errors in policy."),
        (with("NotAction", json!("a:b")), "Syntax errors in policy."),
        (with("Action", json!("Invoke")), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (with("Resource", json!("echo")), "Resource echo must be in ARN format or \"*\"."),
        (with("Principal", json!("*")), "Policy document should not specify a principal."),
        (with("Conditions", json!({})), "Syntax errors in policy: unknown element Conditions."),
        (with("Condition", json!({ "StringSame": { "a": "b" } })), "Invalid Condition type : StringSame."),
        (
            with("Condition", json!({ "NumericEquals": { "a": "x" } })),
            "Invalid value 'x' for condition operator NumericEquals.",
        ),
        (
            with("Condition", json!({ "IpAddress": { "a": "1.2.3.4/33" } })),
            "Invalid value '1.2.3.4/33' for condition operator IpAddress.",
        ),
    ] {
        assert_eq!(Policy::from_value(&document, PolicyKind::Identity).unwrap_err().to_string(), says, "{document}");
    }
    let nobody = json!({ "Version": "2012-10-17", "Statement": [good] });
    assert!(Policy::from_value(&nobody, PolicyKind::Resource).is_err());
    let half = with("Principal", json!({ "AWS": "arn:aws:iam::000000000000:user/*" }));
    assert_eq!(
        Policy::from_value(&half, PolicyKind::Resource).unwrap_err().to_string(),
        "Invalid principal in policy."
    );
    let trust = with("Principal", json!({ "Service": "lambda.amazonaws.com" }));
    assert_eq!(Policy::from_value(&trust, PolicyKind::Trust).unwrap_err().to_string(), "Has prohibited field Resource");
}

#[test]
fn the_policies_that_come_with_the_platform_can_be_read() {
    for policy in managed_policies() {
        assert!(Policy::parse(policy.document, PolicyKind::Identity).is_ok(), "{}", policy.name);
        assert_eq!(managed_policy(&policy.arn()), Some(policy));
    }
    assert!(managed_policy("arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole").is_some());
}
