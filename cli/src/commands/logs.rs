//! `hearth logs`: what a function wrote, and what the platform wrote about its calls.

use std::collections::BTreeSet;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Api, Call, encoded};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, line, utc};

/// How long one request of `--follow` waits for a line, milliseconds.
const FOLLOW_WAIT_MS: u64 = 20_000;

/// Shows a function's log, oldest line first.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Function: name or ARN
    name: String,
    /// Go on showing lines as they come
    #[arg(long, short)]
    follow: bool,
    /// Only lines of this request
    #[arg(long, value_name = "ID")]
    request: Option<String>,
}

/// One answer of `GET /hearth/v1/functions/{name}/logs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    lines: Vec<Value>,
    next: String,
    #[serde(default)]
    unreachable: BTreeSet<String>,
}

impl PlatformCommand for Logs {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let path = format!("/hearth/v1/functions/{}/logs", encoded(&self.name));
        let mut after = String::new();
        let mut told_unreachable = BTreeSet::new();
        // While there is older text it comes at once; only then following waits.
        let mut wait_ms = 0;
        loop {
            let cursor = if after.is_empty() { String::new() } else { format!("&after={}", encoded(&after)) };
            let page: Page = api.call(Call::get(format!("{path}?waitMs={wait_ms}{cursor}"))).await?.json()?;
            for worker in page.unreachable {
                if told_unreachable.insert(worker.clone()) {
                    eprintln!("warning: worker {worker} can't be asked: its lines are missing here");
                }
            }
            for entry in &page.lines {
                self.show(entry, output)?;
            }
            after = page.next;
            if page.lines.is_empty() {
                if !self.follow {
                    return Ok(Exit::Success);
                }
                wait_ms = FOLLOW_WAIT_MS;
            }
        }
    }
}

impl Logs {
    fn show(&self, entry: &Value, output: Output) -> Result<(), Failure> {
        if self.request.as_ref().is_some_and(|request| entry["requestId"] != request.as_str()) {
            return Ok(());
        }
        match output {
            // One document a line, so that following can be piped.
            Output::Json => line(&entry.to_string()),
            Output::Table => {
                let time = utc(entry["unixMs"].as_u64().unwrap_or_default());
                line(&format!("{time} {}", entry["text"].as_str().unwrap_or_default()))
            }
        }
    }
}
