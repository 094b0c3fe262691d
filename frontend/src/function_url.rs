//! Function URLs: what is stored of one, how requests become events and answers become responses.
//!
//! Everything below is pure; serving is `api::url`. Source: AWS Lambda developer guide, "Invoking Lambda function URLs"
//! and "Creating and managing Lambda function URLs".
//!
//! A URL is found by its id: [`UrlOwner`] says whose it is, and the [`FunctionUrl`] there must name the same id. So a
//! document of either kind that was left alone by a crash leads nowhere.

mod answer;
mod cors;
mod event;
mod host;
mod prelude;
mod request_time;

use hearth_domain::{AccountId, AliasName, FunctionName};
use hearth_store::Document;
use serde::{Deserialize, Serialize};

use crate::validation::Qualifier;

pub use answer::{MalformedAnswer, UrlAnswer, infer};
pub use cors::Cors;
pub use event::{Caller, UrlRequest, event};
pub use host::{url_id_of, url_of};
pub use prelude::{PRELUDE_MAX_BYTES, Prelude, PreludeReader};

/// The content type by which a function says that its streamed answer begins with a prelude.
pub const HTTP_INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";

/// Length of a URL's id.
pub const URL_ID_CHARS: usize = 32;

/// A function URL, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionUrl {
    /// First label of its host name.
    pub id: String,
    /// Who may call it.
    pub auth: AuthType,
    /// What browsers are told, if anything.
    #[serde(default)]
    pub cors: Option<Cors>,
    /// How answers are given.
    pub mode: InvokeMode,
    /// Whether callers need `lambda:InvokeFunction` as well; URLs of before October 2025's rule do not.
    #[serde(default)]
    pub needs_invoke: bool,
    /// When it was made, Unix milliseconds.
    pub created_unix_ms: u64,
    /// When it was changed last, Unix milliseconds.
    pub modified_unix_ms: u64,
}

/// Who may call a URL (service model: `FunctionUrlAuthType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthType {
    /// Whoever the function's resource policy lets.
    #[serde(rename = "NONE")]
    None,
    /// Signed requests of those whom policies let.
    #[serde(rename = "AWS_IAM")]
    AwsIam,
}

impl AuthType {
    /// Its name in the API and in conditions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::AwsIam => "AWS_IAM",
        }
    }
}

/// How a URL answers (service model: `InvokeMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum InvokeMode {
    /// Whole.
    #[default]
    #[serde(rename = "BUFFERED")]
    Buffered,
    /// As the function writes.
    #[serde(rename = "RESPONSE_STREAM")]
    ResponseStream,
}

/// Whose a URL is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlOwner {
    /// The account.
    pub account: AccountId,
    /// The function.
    pub function: FunctionName,
    /// The alias; `None` for the function itself.
    #[serde(default)]
    pub alias: Option<AliasName>,
}

impl Document for FunctionUrl {
    const KIND: &'static str = "function-url";
}

impl Document for UrlOwner {
    const KIND: &'static str = "function-url-id";
}

impl UrlOwner {
    /// Where its [`FunctionUrl`] lies among the documents.
    #[must_use]
    pub fn path(&self) -> String {
        let qualifier = self.alias.as_ref().map_or("$LATEST", AliasName::as_str);
        format!("{}/{}/{qualifier}", self.account, self.function)
    }

    /// What is called, as [`crate::resolution::Resolver`] finds it.
    #[must_use]
    pub fn qualifier(&self) -> Option<Qualifier> {
        self.alias.as_ref().map(|alias| Qualifier::Alias(alias.to_string()))
    }
}
