//! `hearth key`: access keys.

use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Call, encoded};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, line, utc};

/// Manages access keys of the account, of its users (made with `aws iam create-user`), or, with a key of the first
/// account, of another one.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key; its secret is shown once
    Create {
        /// Of this user [default: of the account itself]
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Of this account [default: the one of the key that signs]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// List keys
    List {
        /// Of this account [default: the one of the key that signs]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Refuse a key until it is enabled again
    Disable {
        /// Its id
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Take a disabled key again
    Enable {
        /// Its id
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Delete a key
    Delete {
        /// Its id
        #[arg(value_name = "KEY")]
        key: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    id: String,
    user: Option<String>,
    disabled: bool,
    created_unix_ms: u64,
}

impl PlatformCommand for Keys {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        match self.action {
            Action::Create { user, account } => {
                let request = json!({ "user": user, "account": account });
                let made: Value = api.call(Call::new(Method::POST, "/hearth/v1/keys").json(&request)).await?.json()?;
                match output {
                    Output::Json => line(&format!("{made:#}"))?,
                    Output::Table => {
                        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
                        let (id, secret) = (text("id"), text("secret"));
                        line(&format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}"))?;
                    }
                }
            }
            Action::List { account } => {
                let query = account.map(|account| format!("?account={}", encoded(&account))).unwrap_or_default();
                let listed: Value = api.call(Call::get(format!("/hearth/v1/keys{query}"))).await?.json()?;
                match output {
                    Output::Json => line(&format!("{listed:#}"))?,
                    Output::Table => line(table(&listed["keys"])?.to_string().trim_end())?,
                }
            }
            Action::Disable { key } => set_disabled(api, &key, true).await?,
            Action::Enable { key } => set_disabled(api, &key, false).await?,
            Action::Delete { key } => {
                api.call(Call::new(Method::DELETE, format!("/hearth/v1/keys/{}", encoded(&key)))).await?;
            }
        }
        Ok(Exit::Success)
    }
}

async fn set_disabled(api: &Api, key: &str, disabled: bool) -> Result<(), Failure> {
    let path = format!("/hearth/v1/keys/{}", encoded(key));
    api.call(Call::new(Method::PUT, path).json(&json!({ "disabled": disabled }))).await?;
    Ok(())
}

fn table(keys: &Value) -> Result<Table, Failure> {
    let keys = Vec::<Key>::deserialize(keys)
        .map_err(|error| Failure::new(Exit::Unavailable, format!("the keys can't be read: {error}")))?;
    let mut table = Table::new(&["KEY", "USER", "STATUS", "CREATED"], "no keys");
    for key in keys {
        let created = if key.created_unix_ms == 0 { "-".to_owned() } else { utc(key.created_unix_ms) };
        let status = if key.disabled { "disabled" } else { "active" };
        table.row(vec![key.id, key.user.unwrap_or_else(|| "-".into()), status.into(), created]);
    }
    Ok(table)
}
