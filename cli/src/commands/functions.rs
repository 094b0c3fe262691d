//! `hearth ls`, `hearth rm`.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::api::{Api, Call, encoded};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, line};

/// Functions asked for at once (AWS: ListFunctions, `MaxItems`, at most 50 come).
const PAGE: usize = 50;

/// Lists every function of the account.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Deletes functions with all their versions, or one version.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Functions: name or ARN
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Delete only this version
    #[arg(long, value_name = "N")]
    version: Option<String>,
}

impl PlatformCommand for Remove {
    async fn run(self, api: &Api, _: Output) -> Result<Exit, Failure> {
        for name in &self.names {
            let qualifier = self.version.as_ref().map(|version| format!("?Qualifier={}", encoded(version)));
            let path = format!("/2015-03-31/functions/{}{}", encoded(name), qualifier.unwrap_or_default());
            api.call(Call::new(Method::DELETE, path)).await?;
            eprintln!("deleted {name}");
        }
        Ok(Exit::Success)
    }
}

impl PlatformCommand for List {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let functions = functions(api).await?;
        match output {
            Output::Json => line(&format!("{:#}", json!({ "Functions": functions })))?,
            Output::Table => line(table(&functions).to_string().trim_end())?,
        }
        Ok(Exit::Success)
    }
}

/// Every function of the account.
async fn functions(api: &Api) -> Result<Vec<Value>, Failure> {
    let mut functions = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let after = marker.map(|marker| format!("&Marker={}", encoded(&marker))).unwrap_or_default();
        let page: Value = api.call(Call::get(format!("/2015-03-31/functions?MaxItems={PAGE}{after}"))).await?.json()?;
        functions.extend(page["Functions"].as_array().cloned().unwrap_or_default());
        marker = page["NextMarker"].as_str().map(ToOwned::to_owned);
        if marker.is_none() {
            return Ok(functions);
        }
    }
}

fn table(functions: &[Value]) -> Table {
    let mut table = Table::new(
        &["NAME", "RUNTIME", "HANDLER", "MEMORY MB", "TIMEOUT S", "CODE KB", "LAST MODIFIED"],
        "no functions: create one with `hearth deploy`",
    );
    for function in functions {
        let text = |name: &str| function[name].as_str().unwrap_or("-").to_owned();
        let number = |name: &str| function[name].as_u64().map_or_else(|| "-".into(), |number| number.to_string());
        let code_kb = function["CodeSize"].as_u64().unwrap_or_default().div_ceil(1024).to_string();
        table.row(vec![
            text("FunctionName"),
            text("Runtime"),
            text("Handler"),
            number("MemorySize"),
            number("Timeout"),
            code_kb,
            text("LastModified"),
        ]);
    }
    table
}
