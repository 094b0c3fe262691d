//! What CreateFunction and the updates refuse, and that nothing of it stays.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_frontend::Config;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::platform::{Platform, create_request, zip};

const FUNCTIONS: &str = "/2015-03-31/functions";

/// A create request with some members replaced; null takes one away.
fn with(changes: &Value) -> Value {
    let mut request = create_request("echo", "app.handler");
    for (member, value) in changes.as_object().unwrap() {
        if value.is_null() {
            request.as_object_mut().unwrap().remove(member);
        } else {
            request[member] = value.clone();
        }
    }
    request
}

#[tokio::test]
async fn every_mistake_is_told_at_once() {
    let platform = Platform::start().await;
    let wrong = json!({ "FunctionName": "a b", "Role": "me", "Timeout": 901, "MemorySize": 1, "PackageType": "Tar" });
    let (status, code, text) = platform.call("POST", FUNCTIONS, &with(&wrong)).await.error();
    assert_eq!((status, code.as_str()), (400, "ValidationException"));
    assert!(text.starts_with("5 validation errors detected: "), "{text}");
    for part in [
        "Value 'a b' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:",
        "Value 'me' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:",
        "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        "Value '1' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128",
        "Value 'Tar' at 'packageType' failed to satisfy constraint: Member must satisfy enum value set: [Zip, Image]",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let (_, _, text) = platform.call("POST", FUNCTIONS, &json!({})).await.error();
    assert!(text.starts_with("3 validation errors detected: Value null at 'functionName'"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    let platform = Platform::start().await;
    for (change, word) in [
        (json!({ "Runtime": "cobol85" }), "cobol85"),
        (json!({ "Runtime": "nodejs20.x" }), "[provided.al2023, python3.11]"),
        (json!({ "Runtime": null }), "Runtime and Handler are mandatory"),
        (json!({ "Handler": null }), "Runtime and Handler are mandatory"),
        (json!({ "Architectures": ["arm64"] }), "arm64"),
        (json!({ "PackageType": "Image" }), "images"),
        (json!({ "Code": { "S3Bucket": "bucket", "S3Key": "k" } }), "S3"),
        (json!({ "Code": {} }), "Please provide a source for function code."),
        (json!({ "Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"] }), "layer:x:1 does not exist."),
        (json!({ "VpcConfig": { "SubnetIds": ["s-1"] } }), "VpcConfig"),
        (json!({ "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/x" }), "KMSKeyArn"),
        (json!({ "Tags": { "hearth:isolation": "vm" } }), "hearth:isolation names the least isolation"),
        (json!({ "TracingConfig": { "Mode": "Active" } }), "TracingConfig"),
        (json!({ "LoggingConfig": { "SystemLogLevel": "WARN" } }), "LogFormat JSON"),
        (json!({ "DeadLetterConfig": { "TargetArn": "arn:aws:sqs:us-east-1:000000000000:q.fifo" } }), "q.fifo"),
        (
            json!({ "Environment": { "Variables": { "AWS_REGION": "x", "AWS_REGION2": "y", "LAMBDA_TASK_ROOT": "z" } } }),
            "AWS_REGION, LAMBDA_TASK_ROOT",
        ),
        (json!({ "Environment": { "Variables": { "BIG": "x".repeat(4_096) } } }), "4KB"),
        (json!({ "FunctionName": "echo:1" }), "without a version"),
    ] {
        let (status, code, text) = platform.call("POST", FUNCTIONS, &with(&change)).await.error();
        assert_eq!((status, code.as_str()), (400, "InvalidParameterValueException"), "{change}: {text}");
        assert!(text.contains(word), "{change}: {text}");
    }
    let wrong_type = platform.call("POST", FUNCTIONS, &with(&json!({ "Timeout": "soon" }))).await.error();
    assert_eq!(wrong_type.1, "SerializationException");
    let no_json = platform.send("POST", FUNCTIONS, &[], b"{").await.error();
    assert_eq!(no_json.1, "SerializationException");
    assert_eq!(platform.bundle_files(), 0);
    assert_eq!(platform.call("GET", FUNCTIONS, &Value::Null).await.json()["Functions"], json!([]));
}

#[tokio::test]
async fn bad_zips_leave_nothing_behind() {
    let platform = Platform::start().await;
    let good = zip("print()");
    let mut damaged = good.clone();
    damaged[40] ^= 0xff;
    for (bytes, text) in [
        (&good[..good.len() - 10], "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (&damaged, "Could not unzip uploaded file."),
        (b"#!/bin/sh", "Could not unzip uploaded file."),
        (b"", "Uploaded file must be a non-empty zip"),
    ] {
        let code = json!({ "ZipFile": STANDARD.encode(bytes) });
        let error = platform.call("POST", FUNCTIONS, &with(&json!({ "Code": code }))).await.error();
        assert_eq!((error.0, error.1.as_str()), (400, "InvalidParameterValueException"));
        assert!(error.2.starts_with(text), "{error:?}");
    }
    let code = json!({ "ZipFile": "not base64!" });
    let error = platform.call("POST", FUNCTIONS, &with(&json!({ "Code": code }))).await.error();
    assert_eq!(error.1, "SerializationException");
    assert_eq!(platform.bundle_files(), 0);
    let missing = platform.call("GET", &format!("{FUNCTIONS}/echo"), &Value::Null).await;
    assert_eq!(missing.status, 404);
}

/// Nobody can say what the fleet offers: the function waits for somebody who can.
#[tokio::test]
async fn a_runtime_nobody_can_vouch_for_is_settled_later() {
    let fleet = Fleet::new();
    *fleet.reachable.lock().unwrap() = false;
    let platform = Platform::with(Config::default(), fleet).await;
    let node = with(&json!({ "FunctionName": "node", "Runtime": "nodejs20.x" }));
    assert_eq!(platform.call("POST", FUNCTIONS, &node).await.json()["State"], "Pending");
    assert_eq!(platform.call("POST", FUNCTIONS, &with(&json!({}))).await.json()["State"], "Pending");
    let update = json!({ "Timeout": 9 });
    let conflict = platform.call("PUT", &format!("{FUNCTIONS}/echo/configuration"), &update).await.error();
    assert_eq!((conflict.0, conflict.1.as_str()), (409, "ResourceConflictException"));
    *platform.fleet.reachable.lock().unwrap() = true;
    platform.settled("echo").await;
    platform.settled("node").await;
    let failed = platform.call("GET", &format!("{FUNCTIONS}/node/configuration"), &Value::Null).await.json();
    assert_eq!((&failed["State"], &failed["StateReasonCode"]), (&json!("Failed"), &json!("InvalidRuntime")));
    assert!(failed["StateReason"].as_str().unwrap().contains("[provided.al2023, python3.11]"));
    // A function that works is not put at risk: the update is refused at once.
    let update = json!({ "Runtime": "nodejs20.x" });
    let refused = platform.call("PUT", &format!("{FUNCTIONS}/echo/configuration"), &update).await.error();
    assert_eq!(refused.1, "InvalidParameterValueException");
    *platform.fleet.reachable.lock().unwrap() = false;
    let refused = platform.call("PUT", &format!("{FUNCTIONS}/echo/configuration"), &update).await.error();
    assert_eq!(refused.0, 503);
}

/// A caller that leaves in the middle of a change leaves no half of one.
#[tokio::test]
async fn a_change_that_has_begun_is_carried_through() {
    let platform = Platform::start().await;
    *platform.fleet.hold_questions.lock().unwrap() = true;
    let asked = platform.fleet.asked.notified();
    let request = with(&json!({}));
    tokio::select! {
        _ = platform.call("POST", FUNCTIONS, &request) => panic!("the change must be held"),
        () = asked => {}
    }
    *platform.fleet.hold_questions.lock().unwrap() = false;
    platform.fleet.release.notify_one();
    let created = async {
        while platform.call("GET", &format!("{FUNCTIONS}/echo"), &Value::Null).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), created).await.expect("it is created");
    platform.settled("echo").await;
}

/// kill -9 between the acknowledgement and its effect: the next start goes on.
#[tokio::test]
async fn what_a_crash_left_pending_is_taken_up_at_the_next_start() {
    let fleet = Fleet::new();
    *fleet.reachable.lock().unwrap() = false;
    let platform = Platform::with(Config::default(), fleet).await;
    assert_eq!(platform.call("POST", FUNCTIONS, &with(&json!({ "Publish": true }))).await.status, 201);
    // The first frontend never gets to it: its tasks are stopped.
    assert!(platform.frontend.shutdown(std::time::Duration::from_secs(5)).await);
    *platform.fleet.reachable.lock().unwrap() = true;
    let pending = platform.call("GET", &format!("{FUNCTIONS}/echo/configuration"), &Value::Null).await.json();
    assert_eq!(pending["State"], "Pending");
    let registry = prometheus::Registry::new();
    let again = hearth_frontend::Frontend::start(Config::default(), platform.deps.clone(), &registry).await.unwrap();
    platform.settled("echo").await;
    assert!(again.shutdown(std::time::Duration::from_secs(5)).await);
}

/// The size is judged before the signature, so an unsigned body will do here.
#[tokio::test]
async fn a_body_above_all_limits_is_not_kept() {
    let platform = Platform::start().await;
    let mut request = crate::platform::signed("POST", FUNCTIONS, &[], b"");
    let body = vec![b' '; 70_167_212];
    request.headers_mut().insert("content-length", body.len().into());
    *request.body_mut() = axum::body::Body::from(body);
    let (status, code, text) = platform.raw(request).await.error();
    assert_eq!((status, code.as_str()), (413, "RequestEntityTooLargeException"));
    assert_eq!(text, "Request must be smaller than 70167211 bytes for the CreateFunction operation");
}
