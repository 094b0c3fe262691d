//! Greets whoever the event names, with AWS's own crate.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let name = event.payload["name"].as_str().ok_or("the event has no name")?;
    Ok(json!({ "message": format!("Hello, {name}!"), "requestId": event.context.request_id }))
}
