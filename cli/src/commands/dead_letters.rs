//! `hearth dead-letters`: events that were given up, with the last error of each.

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Call};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, line, utc};

/// Longest error text in the table, characters; `--output json` has all of it.
const ERROR_MAX_CHARS: usize = 60;

/// Lists them, oldest first.
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    /// Only those of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
}

/// One page of `GET /hearth/v1/dead-letters`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    dead_letters: Vec<Value>,
    next: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Letter {
    request_id: String,
    function: String,
    version: String,
    condition: String,
    attempts: u64,
    unix_ms: u64,
    error: Option<String>,
}

impl PlatformCommand for DeadLetters {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let mut letters = Vec::new();
        let mut after = None;
        loop {
            let query = after.map(|after: u64| format!("?after={after}")).unwrap_or_default();
            let page: Page = api.call(Call::get(format!("/hearth/v1/dead-letters{query}"))).await?.json()?;
            letters.extend(page.dead_letters);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if let Some(function) = &self.function {
            letters.retain(|letter| letter["function"] == function.as_str());
        }
        match output {
            Output::Json => line(&format!("{:#}", json!({ "deadLetters": letters })))?,
            Output::Table => line(table(letters)?.to_string().trim_end())?,
        }
        Ok(Exit::Success)
    }
}

fn table(letters: Vec<Value>) -> Result<Table, Failure> {
    let mut table =
        Table::new(&["GIVEN UP", "FUNCTION", "REQUEST", "CONDITION", "ATTEMPTS", "ERROR"], "no dead letters");
    for letter in letters {
        let letter: Letter = serde_json::from_value(letter)
            .map_err(|error| Failure::new(Exit::Unavailable, format!("a dead letter can't be read: {error}")))?;
        table.row(vec![
            utc(letter.unix_ms),
            format!("{}:{}", letter.function, letter.version),
            letter.request_id,
            letter.condition,
            letter.attempts.to_string(),
            letter.error.unwrap_or_else(|| "-".into()).chars().take(ERROR_MAX_CHARS).collect(),
        ]);
    }
    Ok(table)
}
