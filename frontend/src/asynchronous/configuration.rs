//! What a function's owner says of its asynchronous invocations: retries, age, destinations (AWS:
//! `FunctionEventInvokeConfig`).
//!
//! It belongs to `$LATEST`, to a version or to an alias, and holds for events that were sent to just that.

use hearth_domain::{AccountId, FunctionName};
use hearth_store::Document;
use hearth_store::event::Event;
use serde::{Deserialize, Serialize};

/// The configuration of one qualifier. What is `None` was not set: the platform's default holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventInvokeConfig {
    /// Most retries after function errors, 0 to 2.
    pub max_retries: Option<u32>,
    /// Age at which an event is given up, seconds, 60 to 21,600.
    pub max_age_s: Option<u32>,
    /// ARN of what gets the records of events that succeeded.
    pub on_success: Option<String>,
    /// ARN of what gets the records of events that were given up.
    pub on_failure: Option<String>,
    /// When it was changed last, Unix milliseconds.
    pub last_modified_unix_ms: u64,
}

impl Document for EventInvokeConfig {
    const KIND: &'static str = "event-invoke-config";
}

impl EventInvokeConfig {
    /// Where it lies among the documents; `qualifier` is `$LATEST`, a number or the name of an alias.
    #[must_use]
    pub fn path(account: &AccountId, function: &FunctionName, qualifier: &str) -> String {
        format!("{account}/{function}/{qualifier}")
    }

    /// Where the one lies that holds for an event.
    #[must_use]
    pub fn path_for(event: &Event) -> String {
        match &event.alias {
            Some(alias) => Self::path(&event.account, &event.name, alias.as_str()),
            None => Self::path(&event.account, &event.name, &event.version.to_string()),
        }
    }
}
