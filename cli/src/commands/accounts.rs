//! `hearth account`: the accounts of a platform.

use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Call, encoded};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, line, utc};

/// Manages accounts; with a key of the first account.
#[derive(Debug, Args)]
pub(crate) struct Accounts {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an account and its first access key, which is shown once
    Create {
        /// Twelve digits [default: some at random]
        #[arg(value_name = "ACCOUNT")]
        account: Option<String>,
        /// What people call it
        #[arg(long, value_name = "TEXT", default_value = "")]
        name: String,
    },
    /// List accounts
    List,
    /// Delete an account that has no functions, with its users, roles and keys
    Delete {
        /// Twelve digits
        #[arg(value_name = "ACCOUNT")]
        account: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    account: String,
    name: String,
    created_unix_ms: u64,
}

impl PlatformCommand for Accounts {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        match self.action {
            Action::Create { account, name } => {
                let request = json!({ "account": account, "name": name });
                let made: Value =
                    api.call(Call::new(Method::POST, "/hearth/v1/accounts").json(&request)).await?.json()?;
                match output {
                    Output::Json => line(&format!("{made:#}"))?,
                    Output::Table => {
                        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                        line(&format!(
                            "[{}]\naws_access_key_id = {}\naws_secret_access_key = {}",
                            text(&made["account"]),
                            text(&made["key"]["id"]),
                            text(&made["key"]["secret"])
                        ))?;
                    }
                }
            }
            Action::List => {
                let listed: Value = api.call(Call::get("/hearth/v1/accounts")).await?.json()?;
                match output {
                    Output::Json => line(&format!("{listed:#}"))?,
                    Output::Table => line(table(&listed["accounts"])?.to_string().trim_end())?,
                }
            }
            Action::Delete { account } => {
                let path = format!("/hearth/v1/accounts/{}", encoded(&account));
                api.call(Call::new(Method::DELETE, path)).await?;
            }
        }
        Ok(Exit::Success)
    }
}

fn table(accounts: &Value) -> Result<Table, Failure> {
    let accounts = Vec::<Account>::deserialize(accounts)
        .map_err(|error| Failure::new(Exit::Unavailable, format!("the accounts can't be read: {error}")))?;
    let mut table = Table::new(&["ACCOUNT", "NAME", "CREATED"], "no accounts");
    for account in accounts {
        let created = if account.created_unix_ms == 0 { "-".to_owned() } else { utc(account.created_unix_ms) };
        table.row(vec![account.account, account.name, created]);
    }
    Ok(table)
}
