//! Calls, versions and aliases, URLs, pages.

use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    AliasRoutingConfiguration, Cors, FunctionUrlAuthType, InvocationType, InvokeMode, LogType,
};

use crate::Function;

fn text(payload: Option<&Blob>) -> &str {
    std::str::from_utf8(payload.expect("there is a payload").as_ref()).expect("it is text")
}

/// Answers, the tail of the log, an error of the function, and the other kinds of call.
pub(crate) async fn invocations(function: &Function) {
    let call = || function.client.invoke().function_name(&function.name);
    let answer =
        call().payload(Blob::new(r#"{"n":[1,"ü"]}"#)).log_type(LogType::Tail).send().await.expect("it answers");
    assert_eq!(
        (answer.status_code(), answer.function_error(), answer.executed_version()),
        (200, None, Some("$LATEST"))
    );
    assert_eq!(text(answer.payload()), r#"{"n": [1, "\u00fc"]}"#);
    let tail = aws_smithy_types::base64::decode(answer.log_result().expect("there is a tail")).expect("it is Base64");
    let tail = String::from_utf8(tail).expect("it is text");
    let id = answer.request_id().expect("it has an id");
    for line in [format!("START RequestId: {id} Version: $LATEST"), "seen".to_owned(), format!("END RequestId: {id}")] {
        assert!(tail.contains(&line), "{line} is not in {tail}");
    }
    let failed =
        call().payload(Blob::new(r#"{"fail":"as asked"}"#)).send().await.expect("a failing function is an answer");
    assert_eq!((failed.status_code(), failed.function_error()), (200, Some("Unhandled")));
    assert!(text(failed.payload()).contains(r#""errorMessage": "as asked", "errorType": "ValueError""#), "{failed:?}");
    let queued =
        call().invocation_type(InvocationType::Event).payload(Blob::new("{}")).send().await.expect("it is taken");
    assert_eq!((queued.status_code(), queued.executed_version()), (202, None));
    let dry = call().invocation_type(InvocationType::DryRun).send().await.expect("it could be called");
    assert_eq!(dry.status_code(), 204);
}

/// A version and an alias of it that gives some of its calls to another.
pub(crate) async fn aliases(function: &Function) {
    let client = &function.client;
    let first =
        client.publish_version().function_name(&function.name).description("one").send().await.expect("published");
    assert_eq!((first.version(), first.description()), (Some("1"), Some("one")));
    client
        .update_function_configuration()
        .function_name(&function.name)
        .description("changed")
        .send()
        .await
        .expect("it is changed");
    aws_sdk_lambda::client::Waiters::wait_until_function_updated_v2(client)
        .function_name(&function.name)
        .wait(crate::ACTIVE_WITHIN)
        .await
        .expect("the change is made");
    let second = client.publish_version().function_name(&function.name).send().await.expect("published");
    assert_eq!(second.version(), Some("2"));
    let alias = client.create_alias().function_name(&function.name).name("live").function_version("1");
    let weights = AliasRoutingConfiguration::builder().additional_version_weights("2", 0.5).build();
    let alias = alias.routing_config(weights).send().await.expect("the alias is created");
    assert_eq!(alias.alias_arn(), Some(format!("{}:live", function.arn()).as_str()));
    let weights = alias.routing_config().and_then(|routing| routing.additional_version_weights());
    assert_eq!(weights.map(|weights| weights["2"]), Some(0.5));
    let answer = client.invoke().function_name(&function.name).qualifier("live").payload(Blob::new("1")).send().await;
    let ran = answer.expect("the alias answers").executed_version().map(str::to_owned).expect("it tells what ran");
    assert!(ran == "1" || ran == "2", "{ran} ran");
}

/// A function URL's configuration, and who may call it.
pub(crate) async fn urls(function: &Function) {
    let client = &function.client;
    let cors = Cors::builder().allow_origins("https://a.example").allow_methods("GET").max_age(5).build();
    let made = client.create_function_url_config().function_name(&function.name).auth_type(FunctionUrlAuthType::None);
    let made = made.cors(cors).send().await.expect("the URL is made");
    assert!(made.function_url().contains(".lambda-url.us-east-1."), "{made:?}");
    let changed =
        client.update_function_url_config().function_name(&function.name).invoke_mode(InvokeMode::ResponseStream);
    let changed = changed.send().await.expect("it is changed");
    assert_eq!(
        (changed.invoke_mode(), changed.function_url()),
        (Some(&InvokeMode::ResponseStream), made.function_url())
    );
    assert_eq!(changed.cors().map(|cors| cors.max_age()), Some(Some(5)));
    let allowed = client.add_permission().function_name(&function.name).statement_id("url").principal("*");
    let allowed = allowed.action("lambda:InvokeFunctionUrl").function_url_auth_type(FunctionUrlAuthType::None);
    let statement =
        allowed.send().await.expect("all may").statement().map(str::to_owned).expect("there is a statement");
    assert!(statement.contains(r#""lambda:FunctionUrlAuthType":"NONE""#), "{statement}");
    client.delete_function_url_config().function_name(&function.name).send().await.expect("it is deleted");
    let gone = client.get_function_url_config().function_name(&function.name).send().await.expect_err("it is gone");
    assert!(gone.as_service_error().expect("an answer").is_resource_not_found_exception());
    assert_eq!(gone.message(), Some("The resource you requested does not exist."));
}

/// Every page, one item each.
pub(crate) async fn pages(function: &Function, other: &Function) {
    let client = &function.client;
    let versions =
        client.list_versions_by_function().function_name(&function.name).into_paginator().page_size(1).items();
    let versions: Vec<_> = versions.send().collect::<Result<_, _>>().await.expect("all pages");
    let numbers: Vec<_> = versions.iter().filter_map(|found| found.version()).collect();
    assert_eq!(numbers, ["$LATEST", "1", "2"]);
    let functions = client.list_functions().into_paginator().page_size(1).items();
    let functions: Vec<_> = functions.send().collect::<Result<_, _>>().await.expect("all pages");
    for name in [&function.name, &other.name] {
        assert_eq!(functions.iter().filter(|found| found.function_name() == Some(name)).count(), 1, "{name}");
    }
}
