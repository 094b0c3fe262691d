//! A function's life through AWS's SDK for Rust, as a program that moves off Lambda would have it: `sdk-lambda ENDPOINT KEY SECRET NAME
//! PYTHON_RUNTIME PYTHON_ZIP NODE_RUNTIME NODE_ZIP`. Ends with a panic at what is not as AWS has it.
//!
//! The Python function answers with its event, says `seen` and fails when the event has `fail`; that for Node.js streams `one`, `two`.

use std::time::Duration;

use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime};
use aws_sdk_lambda::{Client, Config};

mod errors;
mod life;
mod streams;

const ROLE: &str = "arn:aws:iam::000000000000:role/lambda";
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);

struct Function {
    client: Client,
    name: String,
    runtime: Runtime,
    handler: &'static str,
    zip: Blob,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, key, secret, name, python, python_zip, node, node_zip] = given.try_into().expect("eight arguments");
    let client = client(&endpoint, &key, &secret);
    let function = |name: &str, runtime: &str, handler, zip: &str| Function {
        client: client.clone(),
        name: name.to_owned(),
        runtime: Runtime::from(runtime),
        handler,
        zip: Blob::new(std::fs::read(zip).expect("the zip can be read")),
    };
    let calls = function(&name, &python, "app.handler", &python_zip);
    let streaming = function(&format!("{name}-streams"), &node, "index.handler", &node_zip);
    calls.create().await;
    streaming.create().await;
    life::invocations(&calls).await;
    life::aliases(&calls).await;
    life::urls(&calls).await;
    life::pages(&calls, &streaming).await;
    streams::pieces(&streaming).await;
    streams::failures(&streaming).await;
    errors::typed(&calls).await;
    calls.delete().await;
    streaming.delete().await;
    errors::gone(&calls).await;
}

fn client(endpoint: &str, key: &str, secret: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(key, secret, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

impl Function {
    async fn create(&self) {
        let created = self
            .client
            .create_function()
            .function_name(&self.name)
            .runtime(self.runtime.clone())
            .handler(self.handler)
            .role(ROLE)
            .timeout(20)
            .memory_size(256)
            .environment(aws_sdk_lambda::types::Environment::builder().variables("GREETING", "hello").build())
            .code(FunctionCode::builder().zip_file(self.zip.clone()).build())
            .send()
            .await
            .expect("it is created");
        assert_eq!(created.state(), Some(&aws_sdk_lambda::types::State::Pending));
        assert_eq!(created.function_arn(), Some(self.arn().as_str()));
        assert_eq!(created.runtime(), Some(&self.runtime));
        assert_eq!(
            created.environment().and_then(|own| own.variables()).map(|own| own["GREETING"].as_str()),
            Some("hello")
        );
        let active = self.client.wait_until_function_active_v2().function_name(&self.name).wait(ACTIVE_WITHIN).await;
        active.expect("it becomes active");
    }

    async fn delete(&self) {
        self.client.delete_function().function_name(&self.name).send().await.expect("it is deleted");
    }

    fn arn(&self) -> String {
        format!("arn:aws:lambda:us-east-1:000000000000:function:{}", self.name)
    }
}
