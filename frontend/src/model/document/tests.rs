//! What the model says of documents, in the words of Lambda.

use super::*;
use crate::model::operation;

fn told_of(name: &str, body: &str) -> String {
    check_document(operation(name).unwrap(), body.as_bytes()).unwrap_err().to_string()
}

fn holds(name: &str, body: &str) {
    check_document(operation(name).unwrap(), body.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}: {body}"));
}

#[test]
fn all_broken_constraints_are_told_at_once_in_the_models_order() {
    let told = told_of(
        "CreateFunction",
        r#"{"Timeout":901,"Handler":"a b","Role":"me","EphemeralStorage":{"Size":1},"MemorySize":64,"Code":null}"#,
    );
    let expected = r"6 validation errors detected: Value null at 'functionName' failed to satisfy constraint: Member must not be null; Value 'me' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+; Value 'a b' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\s]+; Value null at 'code' failed to satisfy constraint: Member must not be null; Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900; Value '64' at 'memorySize' failed";
    let expected = expected.replacen("6 validation", "7 validation", 1);
    assert!(told.starts_with(&expected), "{told}");
    assert!(told.ends_with("Value '1' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or equal to 512"), "{told}");
}

/// Recorded: LocalStack, TestLambdaAlias::test_notfound_and_invalid_routingconfigs.
#[test]
fn maps_are_told_as_lambda_tells_them() {
    let alias = |weights: &str| {
        let body =
            format!(r#"{{"Name":"a","FunctionVersion":"1","RoutingConfig":{{"AdditionalVersionWeights":{weights}}}}}"#);
        told_of("CreateAlias", &body)
    };
    let at = "at 'routingConfig.additionalVersionWeights' failed to satisfy constraint:";
    assert_eq!(
        alias(r#"{"2":2}"#),
        format!(
            "1 validation error detected: Value '{{2=2.0}}' {at} Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
        )
    );
    assert_eq!(
        alias(r#"{"$LATEST":0.5}"#),
        format!(
            "1 validation error detected: Value '{{$LATEST=0.5}}' {at} Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member must not be null]"
        )
    );
}

#[test]
fn lists_and_what_is_in_them() {
    let told = told_of("UpdateFunctionCode", r#"{"Architectures":["mips"]}"#);
    assert_eq!(
        told,
        "1 validation error detected: Value '[mips]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    );
    let told = told_of("UpdateFunctionCode", r#"{"Architectures":["arm64","x86_64"]}"#);
    assert_eq!(
        told,
        "1 validation error detected: Value '[arm64, x86_64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1"
    );
    let told =
        told_of("UpdateFunctionConfiguration", r#"{"FileSystemConfigs":[{"Arn":"x","LocalMountPath":"/mnt/a"}]}"#);
    assert!(told.contains("Value 'x' at 'fileSystemConfigs.1.member.arn' failed"), "{told}");
}

#[test]
fn secrets_are_not_repeated() {
    let told = told_of("UpdateFunctionConfiguration", r#"{"Environment":{"Variables":{"1":"secret"}}}"#);
    assert_eq!(
        told,
        "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+, Member must not be null]"
    );
}

#[test]
fn wrong_types_end_the_check() {
    for (body, text) in [
        (r#"{"Timeout":"soon","Handler":"a b"}"#, "STRING_VALUE can not be converted to an Integer"),
        (r#"{"Timeout":1.5}"#, "NUMBER_VALUE can not be converted to an Integer"),
        (r#"{"Timeout":99999999999}"#, "NUMBER_VALUE can not be converted to an Integer"),
        (r#"{"Timeout":1e400}"#, "Could not parse request body into json: number out of range at line 1 column 16"),
        (r#"{"Handler":7}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"Handler":true}"#, "TRUE_VALUE can not be converted to a String"),
        (r#"{"Handler":{}}"#, "Start of structure or map found where not expected."),
        (r#"{"Handler":["x"]}"#, "Start of list found where not expected"),
        (r#"{"Layers":"x"}"#, "Expected list or null"),
        (r#"{"Layers":[{}]}"#, "Start of structure or map found where not expected."),
        (r#"{"TracingConfig":5}"#, "Unexpected field type"),
        ("[]", "Start of list found where not expected"),
    ] {
        assert_eq!(told_of("UpdateFunctionConfiguration", body), text, "{body}");
    }
    for bad in ["{", "{}x", "\"\\ud800\"", "nul"] {
        assert!(told_of("UpdateFunctionConfiguration", bad).starts_with("Could not parse request body into json"));
    }
    assert!(told_of("UpdateFunctionConfiguration", "7").contains("expected a structure"));
    let deep = |member: &str| format!(r#"{{"{member}":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(told_of("UpdateFunctionConfiguration", &deep("Layers")), "Start of list found where not expected");
    holds("UpdateFunctionConfiguration", &deep("Unknown"));
}

#[test]
fn null_is_absent_and_the_unknown_is_passed_over() {
    holds("UpdateFunctionConfiguration", r#"{"Timeout":null,"Surprise":{"x":[1]},"TracingConfig":{"Mode":null}}"#);
    holds("UpdateFunctionConfiguration", "");
    holds("CreateAlias", r#"{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":1}}}"#);
}
