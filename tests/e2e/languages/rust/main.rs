//! What test_languages.py asks of every language, in Rust with AWS's own `lambda_runtime` crate.
#![forbid(unsafe_code)]

use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Context, Diagnostic, Error, FunctionResponse, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// What a function answers: whole, or piece by piece.
type Answer = FunctionResponse<Value, Body>;

const MIB: usize = 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var("AT_INIT").is_ok_and(|how| how == "exit") {
        process::exit(3);
    }
    lambda_runtime::run(service_fn(handle)).await
}

#[expect(clippy::exit, reason = "a function that ends its process is one of the questions")]
async fn handle(event: LambdaEvent<Value>) -> Result<Answer, Diagnostic> {
    let (event, context) = event.into_parts();
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let answer = match text("do").as_str() {
        "echo" => event,
        "context" => told(&context),
        "environment" => environment(&event["names"]),
        "log" => {
            println!("to stdout: {}", text("text"));
            eprintln!("to stderr: {}", text("text"));
            Value::Null
        }
        "large" => json!("x".repeat(usize::try_from(event["size"].as_u64().unwrap_or(0)).unwrap_or(0))),
        "raise" => return Err(broken(&text("message"))),
        "cause" => return Err(broken("outer")),
        "exit" => process::exit(3),
        "sleep" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Value::Null
        }
        "memory" => json!(vec![1_u8; 2048 * MIB].iter().filter(|byte| **byte == 1).count()),
        "stream" => return Ok(streamed()),
        _ => Value::Null,
    };
    Ok(FunctionResponse::BufferedResponse(answer))
}

fn broken(message: &str) -> Diagnostic {
    Diagnostic { error_type: "Broken".to_owned(), error_message: message.to_owned() }
}

fn told(context: &Context) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(context.deadline).saturating_sub(now);
    let client = context.client_context.as_ref();
    json!({
        "request_id": context.request_id,
        "function_name": context.env_config.function_name,
        "function_version": context.env_config.version,
        "arn": context.invoked_function_arn,
        "memory_mb": context.env_config.memory.to_string(),
        "log_group": context.env_config.log_group,
        "log_stream": context.env_config.log_stream,
        "left_ms": u64::try_from(left.as_millis()).unwrap_or(0),
        "custom": client.map(|client| &client.custom),
        "client_env": client.map(|client| &client.environment),
        "title": client.map(|client| &client.client.app_title),
    })
}

fn environment(names: &Value) -> Value {
    let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| (name.to_owned(), std::env::var(name).map_or(Value::Null, Value::from))).collect()
}

/// Three pieces with a pause between them.
fn streamed() -> Answer {
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        for piece in ["one ", "two ", "three"] {
            if sender.send_data(piece.into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    FunctionResponse::StreamingResponse(Response::from(body))
}
