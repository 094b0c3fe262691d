//! `hearth usage`.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Api, Call};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, line};

/// Shows what each function used since it was first created.
#[derive(Debug, Args)]
pub(crate) struct Usage {}

/// The reply of `GET /hearth/v1/usage`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    functions: Vec<Function>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Function {
    name: String,
    invocations: u64,
    errors: u64,
    throttles: u64,
    cold_starts: u64,
    billed_ms: u64,
    gb_seconds: f64,
}

impl PlatformCommand for Usage {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let reply = api.call(Call::get("/hearth/v1/usage")).await?;
        match output {
            Output::Json => line(&format!("{:#}", reply.json::<Value>()?))?,
            Output::Table => line(table(&reply.json()?).to_string().trim_end())?,
        }
        Ok(Exit::Success)
    }
}

fn table(report: &Report) -> Table {
    let mut table = Table::new(
        &["FUNCTION", "INVOCATIONS", "ERRORS", "THROTTLES", "COLD STARTS", "BILLED MS", "GB-S"],
        "nothing was invoked yet",
    );
    for function in &report.functions {
        table.row(vec![
            function.name.clone(),
            function.invocations.to_string(),
            function.errors.to_string(),
            function.throttles.to_string(),
            function.cold_starts.to_string(),
            function.billed_ms.to_string(),
            format!("{:.3}", function.gb_seconds),
        ]);
    }
    table
}
