//! `hearth deploy`: creates a function or brings it up to date, and waits until that is in effect.

mod settled;

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::api::{Api, Call, Progress, encoded};
use crate::bundle;
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, line};

/// The execution role that new functions name. Hearth has no roles; the API asks for one.
const ROLE: &str = "arn:aws:iam::000000000000:role/hearth";

/// Creates a function from a directory or a zip; if there is one of that name, gives it the new code and those settings
/// that are given here.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Directory to zip, or a zip
    #[arg(value_name = "DIR|ZIP")]
    path: PathBuf,
    /// Name of the function
    #[arg(long, short)]
    name: String,
    /// Runtime, such as python3.11, nodejs20.x, provided.al2023 [required for a new function]
    #[arg(long, short)]
    runtime: Option<String>,
    /// Handler, such as app.handler [required for a new function, except with provided runtimes]
    #[arg(long)]
    handler: Option<String>,
    /// Memory in MB, 128 to 10240
    #[arg(long, value_name = "MB")]
    memory: Option<u32>,
    /// Longest run of one call in seconds, 1 to 900
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Environment variable; may be given many times. All of them together replace those the function had
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
}

impl PlatformCommand for Deploy {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let zip = bundle::read(&self.path)?;
        let path = format!("/2015-03-31/functions/{}", encoded(&self.name));
        let current = api.find(Call::get(format!("{path}/configuration"))).await?;
        let verb = match current {
            Some(reply) => {
                self.update(api, &path, &zip, &reply.json()?).await?;
                "updated"
            }
            None => {
                self.create(api, &path, &zip).await?;
                "created"
            }
        };
        let configuration = settled::wait(api, &path).await?;
        match output {
            Output::Json => line(&format!("{configuration:#}"))?,
            Output::Table => {
                let arn = configuration["FunctionArn"].as_str().unwrap_or("-");
                line(&format!("{verb} {arn}"))?;
                eprintln!("call it with: hearth invoke {} --data '{{}}'", self.name);
            }
        }
        Ok(Exit::Success)
    }
}

impl Deploy {
    async fn create(&self, api: &Api, path: &str, zip: &[u8]) -> Result<(), Failure> {
        if self.runtime.is_none() {
            let message = format!("there is no function {} yet, and a new one needs a runtime", self.name);
            return Err(Failure::usage(message).remedy("give --runtime, such as python3.11, and --handler"));
        }
        let mut document = self.settings();
        document.insert("FunctionName".into(), json!(self.name));
        document.insert("Role".into(), json!(ROLE));
        document.insert("Code".into(), json!({ "ZipFile": STANDARD.encode(zip) }));
        upload(api, Call::new(Method::POST, "/2015-03-31/functions"), Value::Object(document)).await?;
        settled::wait(api, path).await.map(drop)
    }

    /// First the code, then the settings, each in effect before the next: so Lambda wants it.
    async fn update(&self, api: &Api, path: &str, zip: &[u8], current: &Value) -> Result<(), Failure> {
        settled::wait(api, path).await?;
        let document = json!({ "ZipFile": STANDARD.encode(zip) });
        upload(api, Call::new(Method::PUT, format!("{path}/code")), document).await?;
        let settings = self.settings();
        if settings.iter().all(|(name, value)| &current[name] == value) {
            return Ok(());
        }
        settled::wait(api, path).await?;
        api.call(Call::new(Method::PUT, format!("{path}/configuration")).json(&Value::Object(settings))).await.map(drop)
    }

    /// What was given, under the API's names.
    fn settings(&self) -> Map<String, Value> {
        let mut settings = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                settings.insert(name.to_owned(), value);
            }
        };
        set("Runtime", self.runtime.as_ref().map(|runtime| json!(runtime)));
        set("Handler", self.handler.as_ref().map(|handler| json!(handler)));
        set("MemorySize", self.memory.map(|memory| json!(memory)));
        set("Timeout", self.timeout.map(|timeout| json!(timeout)));
        let variables: Map<String, Value> = self.env.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        set("Environment", (!variables.is_empty()).then(|| json!({ "Variables": variables })));
        settings
    }
}

/// Sends a document with code in it, telling on standard error (if that is a terminal) how far it got.
async fn upload(api: &Api, call: Call, document: Value) -> Result<(), Failure> {
    let body = document.to_string();
    let bar = ProgressBar::new(body.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("uploading {bar:30} {bytes}/{total_bytes} {bytes_per_sec}") {
        bar.set_style(style);
    }
    let sent = bar.clone();
    let progress = Progress::new(move |bytes| sent.inc(bytes as u64));
    let outcome = api.call(call.header("content-type", "application/json").body(body).progress(progress)).await;
    bar.finish_and_clear();
    outcome.map(drop)
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_sent() {
        let deploy = Deploy {
            path: ".".into(),
            name: "echo".into(),
            runtime: None,
            handler: None,
            memory: Some(256),
            timeout: None,
            env: vec![("A".into(), "1=2".into())],
        };
        let expected = json!({ "MemorySize": 256, "Environment": { "Variables": { "A": "1=2" } } });
        assert_eq!(Value::Object(deploy.settings()), expected);
    }

    #[test]
    fn variables_have_a_name() {
        assert_eq!(variable("A=1=2"), Ok(("A".into(), "1=2".into())));
        assert_eq!(variable("A="), Ok(("A".into(), String::new())));
        assert!(variable("A").is_err() && variable("=1").is_err());
    }
}
