//! Functions: created, read, listed, changed, published, deleted.

use serde_json::{Value, json};

use crate::platform::{Platform, create_request, zip, zip_base64};

const FUNCTIONS: &str = "/2015-03-31/functions";

#[tokio::test]
async fn a_function_is_created_with_lambdas_defaults_and_becomes_active() {
    let platform = Platform::start().await;
    let created = platform.call("POST", FUNCTIONS, &create_request("echo", "app.handler")).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("x-amzn-requestid").len(), 36);
    let body = created.json();
    let expected = json!({
        "FunctionName": "echo", "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:echo",
        "Runtime": "python3.11", "Role": crate::platform::ROLE, "Handler": "app.handler",
        "CodeSize": zip("echo").len(), "Description": "", "Timeout": 3, "MemorySize": 128, "Version": "$LATEST",
        "TracingConfig": { "Mode": "PassThrough" }, "State": "Pending",
        "StateReason": "The function is being created.", "StateReasonCode": "Creating", "PackageType": "Zip",
        "Architectures": ["x86_64"], "EphemeralStorage": { "Size": 512 },
        "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
        "RuntimeVersionConfig": { "RuntimeVersionArn": "arn:aws:lambda:us-east-1::runtime:python3.11" },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": "/aws/lambda/echo" },
        "CodeSha256": body["CodeSha256"], "LastModified": body["LastModified"], "RevisionId": body["RevisionId"],
    });
    assert_eq!(body, expected);
    assert!(body["LastModified"].as_str().unwrap().ends_with("+0000"));
    platform.settled("echo").await;
    let read = platform.call("GET", "/2015-03-31/functions/echo/configuration", &Value::Null).await.json();
    assert_eq!((&read["State"], &read["LastUpdateStatus"]), (&json!("Active"), &json!("Successful")));
    // A change of state gives a new RevisionId (LocalStack's recordings, TestLambdaRevisions).
    assert_ne!(read["RevisionId"], body["RevisionId"]);
}

#[tokio::test]
async fn snap_start_is_echoed_and_on_for_published_versions_only() {
    let platform = Platform::start().await;
    let mut request = create_request("echo", "app.handler");
    request["SnapStart"] = json!({ "ApplyOn": "PublishedVersions" });
    request["Tags"] = json!({ "hearth:isolation": "kvm" });
    let created = platform.call("POST", FUNCTIONS, &request).await;
    assert_eq!(created.status, 201);
    let off = json!({ "ApplyOn": "PublishedVersions", "OptimizationStatus": "Off" });
    assert_eq!(created.json()["SnapStart"], off);
    platform.settled("echo").await;
    let published = platform.call("POST", "/2015-03-31/functions/echo/versions", &json!({})).await.json();
    assert_eq!(published["SnapStart"], json!({ "ApplyOn": "PublishedVersions", "OptimizationStatus": "On" }));
    let configuration = "/2015-03-31/functions/echo/configuration";
    let none = json!({ "SnapStart": { "ApplyOn": "None" } });
    let updated = platform.call("PUT", configuration, &none).await.json();
    assert_eq!(updated["SnapStart"], json!({ "ApplyOn": "None", "OptimizationStatus": "Off" }));
    platform.settled("echo").await;
    let sometimes = json!({ "SnapStart": { "ApplyOn": "Sometimes" } });
    let (status, _, text) = platform.call("PUT", configuration, &sometimes).await.error();
    assert!(status == 400 && text.contains("enum value set: [PublishedVersions, None]"), "{text}");
}

/// AWS's words for a runtime without it (LocalStack, pull request 12458, of nodejs22.x).
#[tokio::test]
async fn snap_start_is_refused_where_clones_would_be_alike() {
    let platform = Platform::start().await;
    platform.fleet.runtimes.lock().unwrap().push("nodejs18.x".parse().unwrap());
    let refused = |runtime: &str| format!("{runtime} is not supported for SnapStart enabled functions.");
    for runtime in ["nodejs18.x", "ruby3.1", "java8"] {
        let mut request = create_request("echo", "app.handler");
        request["Runtime"] = json!(runtime);
        request["SnapStart"] = json!({ "ApplyOn": "PublishedVersions" });
        let (status, code, text) = platform.call("POST", FUNCTIONS, &request).await.error();
        assert_eq!((status, &*code, text), (400, "InvalidParameterValueException", refused(runtime)));
    }
    let mut request = create_request("echo", "index.handler");
    request["Runtime"] = json!("nodejs18.x");
    request["SnapStart"] = json!({ "ApplyOn": "None" });
    assert_eq!(platform.call("POST", FUNCTIONS, &request).await.status, 201);
    platform.settled("echo").await;
    let configuration = "/2015-03-31/functions/echo/configuration";
    let on = json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } });
    assert_eq!(platform.call("PUT", configuration, &on).await.error().2, refused("nodejs18.x"));
    // What counts is what the function would be afterwards.
    let both = json!({ "Runtime": "python3.11", "SnapStart": { "ApplyOn": "PublishedVersions" } });
    assert_eq!(platform.call("PUT", configuration, &both).await.status, 200);
    platform.settled("echo").await;
    let back = json!({ "Runtime": "nodejs18.x" });
    assert_eq!(platform.call("PUT", configuration, &back).await.error().2, refused("nodejs18.x"));
}

#[tokio::test]
async fn code_is_served_where_get_function_says() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let got = platform.call("GET", "/2015-03-31/functions/echo", &Value::Null).await.json();
    let location = got["Code"]["Location"].as_str().unwrap();
    let path = location.strip_prefix(crate::platform::HOST).unwrap();
    let request = |path: &str| {
        let request = http::Request::builder().uri(path).header("host", "lambda.test");
        request.body(axum::body::Body::empty()).unwrap()
    };
    let served = platform.raw(request(path)).await;
    assert_eq!((served.status, &served.bytes[..]), (200, &zip("echo")[..]));
    let forged = platform.raw(request(&path.replace("X-Amz-Expires=600", "X-Amz-Expires=6000"))).await;
    assert_eq!(forged.error().1, "InvalidSignatureException");
}

#[tokio::test]
async fn four_ways_to_name_it_and_none_to_name_another() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    for name in [
        "echo",
        "echo:$LATEST",
        "echo%3A%24LATEST",
        "000000000000:function:echo",
        "000000000000%3Afunction%3Aecho:$LATEST",
        "arn:aws:lambda:us-east-1:000000000000:function:echo",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aecho%3A%24LATEST",
        "echo?Qualifier=%24LATEST",
    ] {
        let got = platform.call("GET", &format!("{FUNCTIONS}/{name}"), &Value::Null).await;
        assert_eq!(got.status, 200, "{name}: {:?}", got.bytes);
    }
    let get = async |name: &str| platform.call("GET", &format!("{FUNCTIONS}/{name}"), &Value::Null).await.error();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function";
    let not_found = |arn: String| (404, "ResourceNotFoundException".to_owned(), format!("Function not found: {arn}"));
    assert_eq!(get("nobody").await, not_found(format!("{arn}:nobody")));
    assert_eq!(get("echo:7").await, not_found(format!("{arn}:echo:7")));
    assert_eq!(get("echo?Qualifier=prod").await, not_found(format!("{arn}:echo:prod")));
    assert_eq!(get("111111111111:function:echo").await.1, "AccessDeniedException");
    assert_eq!(get("arn:aws:lambda:eu-west-1:000000000000:function:echo").await.0, 404);
    assert_eq!(get("echo:1?Qualifier=2").await.1, "InvalidParameterValueException");
    assert_eq!(get("a%20b").await.1, "ValidationException");
}

#[tokio::test]
async fn lists_are_paged() {
    let platform = Platform::start().await;
    for index in 0..5 {
        platform.create(&format!("f{index}"), "app.handler").await;
    }
    platform.call("POST", &format!("{FUNCTIONS}/f2/versions"), &Value::Null).await;
    let collect = async |path: &str, member: &str| {
        let (mut found, mut marker, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = platform.call("GET", &format!("{path}{separator}MaxItems=2{marker}"), &Value::Null).await.json();
            let listed = page[member].as_array().unwrap().clone();
            assert!(listed.len() <= 2);
            assert!(listed.iter().all(|function| function.get("State").is_none()));
            found.extend(
                listed
                    .iter()
                    .map(|f| f["FunctionArn"].as_str().unwrap().rsplit("function:").next().unwrap().to_owned()),
            );
            pages += 1;
            match page["NextMarker"].as_str() {
                Some(next) => marker = format!("&Marker={next}"),
                None => return (found, pages),
            }
        }
    };
    let (names, pages) = collect(FUNCTIONS, "Functions").await;
    assert_eq!((names, pages), (["f0", "f1", "f2", "f3", "f4"].map(String::from).to_vec(), 3));
    let (names, _) = collect(&format!("{FUNCTIONS}?FunctionVersion=ALL"), "Functions").await;
    assert_eq!(names.iter().filter(|name| name.starts_with("f2:")).collect::<Vec<_>>(), ["f2:$LATEST", "f2:1"]);
    assert_eq!(names.len(), 6);
    let (names, _) = collect(&format!("{FUNCTIONS}/f2/versions"), "Versions").await;
    assert_eq!(names, ["f2:$LATEST", "f2:1"]);
    // Older SDKs end this path with a slash.
    assert_eq!(platform.call("GET", &format!("{FUNCTIONS}/"), &Value::Null).await.status, 200);
    let bad = platform.call("GET", &format!("{FUNCTIONS}?Marker=nonsense&MaxItems=1"), &Value::Null).await.error();
    assert_eq!(bad.1, "InvalidParameterValueException");
    let bad = platform.call("GET", &format!("{FUNCTIONS}?MaxItems=0"), &Value::Null).await.error();
    assert!(bad.2.contains("at 'maxItems'"), "{bad:?}");
}

#[tokio::test]
async fn publishing_is_idempotent_until_something_changes() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let read = async || platform.call("GET", &format!("{FUNCTIONS}/echo/configuration"), &Value::Null).await.json();
    let before = read().await;
    let publish = async |body: Value| platform.call("POST", &format!("{FUNCTIONS}/echo/versions"), &body).await;
    let first = publish(json!({ "Description": "first" })).await;
    assert_eq!(
        (first.status, &first.json()["Version"], &first.json()["Description"]),
        (201, &json!("1"), &json!("first"))
    );
    assert_eq!(publish(Value::Null).await.json()["Version"], "1");
    let wrong = publish(json!({ "CodeSha256": "nonsense" })).await.error();
    assert_eq!(wrong.1, "InvalidParameterValueException");
    let stale = publish(json!({ "RevisionId": "other" })).await.error();
    assert_eq!((stale.0, stale.1.as_str()), (412, "PreconditionFailedException"));
    let after = read().await;
    assert_ne!(after["RevisionId"], before["RevisionId"], "publishing gives $LATEST a new revision, too");
    let right = json!({ "CodeSha256": after["CodeSha256"], "RevisionId": after["RevisionId"] });
    assert_eq!(publish(right).await.status, 201);
    let path = format!("{FUNCTIONS}/echo/configuration");
    assert_eq!(platform.call("PUT", &path, &json!({ "Timeout": 5 })).await.status, 200);
    platform.settled("echo").await;
    let second = publish(Value::Null).await.json();
    assert_eq!((&second["Version"], &second["Timeout"]), (&json!("2"), &json!(5)));
    let kept = platform.call("GET", &format!("{FUNCTIONS}/echo/configuration?Qualifier=1"), &Value::Null).await.json();
    assert_eq!(
        (&kept["Timeout"], &kept["FunctionArn"]),
        (&json!(3), &json!("arn:aws:lambda:us-east-1:000000000000:function:echo:1"))
    );
}

#[tokio::test]
async fn updates_change_what_they_name_and_conflict_while_one_is_in_progress() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let (code, configuration) = (format!("{FUNCTIONS}/echo/code"), format!("{FUNCTIONS}/echo/configuration"));
    let created = platform.call("GET", &configuration, &Value::Null).await.json();
    let dry = platform.call("PUT", &code, &json!({ "ZipFile": zip_base64("new"), "DryRun": true })).await;
    assert_eq!(dry.status, 200);
    assert_ne!(dry.json()["CodeSha256"], created["CodeSha256"]);
    let read = platform.call("GET", &configuration, &Value::Null).await.json();
    assert_eq!((&read["CodeSha256"], &read["RevisionId"]), (&created["CodeSha256"], &created["RevisionId"]));
    // The update waits for the worker manager, which can't be reached: it stays in progress.
    *platform.fleet.reachable.lock().unwrap() = false;
    let update = json!({ "Timeout": 7, "MemorySize": 256, "Environment": { "Variables": { "STAGE": "prod" } } });
    let updated = platform.call("PUT", &configuration, &update).await;
    assert_eq!(updated.status, 200, "{:?}", updated.bytes);
    assert_eq!(updated.json()["LastUpdateStatus"], "InProgress");
    let conflict = platform.call("PUT", &code, &json!({ "ZipFile": zip_base64("new") })).await.error();
    assert_eq!((conflict.0, conflict.1.as_str()), (409, "ResourceConflictException"));
    assert!(
        conflict
            .2
            .contains("An update is in progress for resource: arn:aws:lambda:us-east-1:000000000000:function:echo")
    );
    *platform.fleet.reachable.lock().unwrap() = true;
    platform.settled("echo").await;
    let retired = platform.fleet.retired.lock().unwrap().last().unwrap().clone();
    assert_eq!(retired.keep.unwrap().as_str(), updated.json()["RevisionId"].as_str().unwrap());
    let read = platform.call("GET", &configuration, &Value::Null).await.json();
    assert_eq!(
        (&read["Timeout"], &read["MemorySize"], &read["Handler"]),
        (&json!(7), &json!(256), &json!("app.handler"))
    );
    assert_eq!(read["Environment"]["Variables"]["STAGE"], "prod");
    let stale = json!({ "ZipFile": zip_base64("new"), "RevisionId": created["RevisionId"] });
    assert_eq!(platform.call("PUT", &code, &stale).await.error().0, 412);
    let fresh = json!({ "ZipFile": zip_base64("new"), "RevisionId": read["RevisionId"], "Publish": true });
    let published = platform.call("PUT", &code, &fresh).await.json();
    assert_eq!((&published["Version"], &published["CodeSha256"]), (&json!("1"), &dry.json()["CodeSha256"]));
}

#[tokio::test]
async fn deleting_takes_a_version_or_all() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    platform.call("POST", &format!("{FUNCTIONS}/echo/versions"), &Value::Null).await;
    let delete = async |path: &str| platform.call("DELETE", &format!("{FUNCTIONS}/{path}"), &Value::Null).await;
    assert_eq!(delete("echo?Qualifier=%24LATEST").await.error().1, "InvalidParameterValueException");
    assert_eq!(delete("echo?Qualifier=1").await.status, 204);
    assert_eq!(delete("echo?Qualifier=1").await.status, 204);
    assert_eq!(delete("echo").await.status, 204);
    assert_eq!(delete("echo").await.error().0, 404);
    assert_eq!(platform.call("GET", &format!("{FUNCTIONS}/echo"), &Value::Null).await.status, 404);
    // Version numbers go on where they were.
    platform.create("echo", "app.handler").await;
    let version = platform.call("POST", &format!("{FUNCTIONS}/echo/versions"), &Value::Null).await.json();
    assert_eq!(version["Version"], "2");
}
