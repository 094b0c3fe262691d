//! What is refused, as the types that the SDK has for it.

use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::operation::create_function::CreateFunctionError;
use aws_sdk_lambda::operation::get_function::GetFunctionError;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, ThrottleReason};

use crate::{Function, ROLE};

pub(crate) async fn typed(function: &Function) {
    let client = &function.client;
    let again = client.create_function().function_name(&function.name).role(ROLE).handler("app.handler");
    let again =
        again.runtime(function.runtime.clone()).code(FunctionCode::builder().zip_file(function.zip.clone()).build());
    match again.send().await.expect_err("it is there already").into_service_error() {
        CreateFunctionError::ResourceConflictException(conflict) => {
            assert_eq!(conflict.message(), Some(format!("Function already exist: {}", function.name).as_str()));
            assert_eq!(conflict.r#type(), Some("User"));
        }
        other => panic!("{other:?}"),
    }
    let bad = client.invoke().function_name(&function.name).payload(Blob::new("{")).send().await;
    match bad.expect_err("that is no JSON").into_service_error() {
        InvokeError::InvalidRequestContentException(refused) => {
            assert!(
                refused.message().is_some_and(|told| told.starts_with("Could not parse request body into json")),
                "{refused}"
            );
        }
        other => panic!("{other:?}"),
    }
    let many = client.create_alias().function_name(&function.name).name("7").function_version("1").send().await;
    let many = many.expect_err("a number is no name").into_service_error();
    assert_eq!(many.code(), Some("ValidationException"));
    throttled(function).await;
}

/// A function that may not run at all.
async fn throttled(function: &Function) {
    let client = &function.client;
    let none = client.put_function_concurrency().function_name(&function.name).reserved_concurrent_executions(0);
    none.send().await.expect("none are reserved");
    let refused = client.invoke().function_name(&function.name).payload(Blob::new("1")).send().await;
    match refused.expect_err("none may run").into_service_error() {
        InvokeError::TooManyRequestsException(refused) => {
            assert_eq!(refused.reason(), Some(&ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded));
        }
        other => panic!("{other:?}"),
    }
    client.delete_function_concurrency().function_name(&function.name).send().await.expect("it may run again");
    client.invoke().function_name(&function.name).payload(Blob::new("1")).send().await.expect("and it does");
}

pub(crate) async fn gone(function: &Function) {
    let gone = function.client.get_function().function_name(&function.name).send().await.expect_err("it was deleted");
    assert_eq!(gone.raw_response().map(|answer| answer.status().as_u16()), Some(404));
    let gone = gone.into_service_error();
    assert!(gone.request_id().is_some());
    match gone {
        GetFunctionError::ResourceNotFoundException(missing) => {
            assert_eq!(missing.message(), Some(format!("Function not found: {}", function.arn()).as_str()));
            assert_eq!(missing.r#type(), Some("User"));
        }
        other => panic!("{other:?}"),
    }
}
