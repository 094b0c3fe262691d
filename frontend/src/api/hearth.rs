//! Our own routes, for `hearth workers`, `usage`, `dead-letters`, `queue`, `events` and `logs`. Signed like the rest; JSON in camelCase.

mod accounts;
mod channels;
mod fleet;
mod logs;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_store::event::DeadLetter;
use hearth_store::usage::Usage;
use serde::Serialize;

use super::call::Call;
use super::{Api, json};
use crate::errors::ApiError;

/// Most dead letters in one answer.
const DEAD_LETTERS_MAX: u32 = 1_000;
/// Dead letters in one answer unless asked otherwise.
const DEAD_LETTERS_DEFAULT: u32 = 100;

/// `GET /hearth/v1/usage`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageReport {
    account: String,
    functions: Vec<FunctionUsage>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FunctionUsage {
    name: String,
    invocations: u64,
    errors: u64,
    throttles: u64,
    cold_starts: u64,
    billed_ms: u64,
    gb_seconds: f64,
}

/// `GET /hearth/v1/dead-letters?after=&limit=`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetterPage {
    dead_letters: Vec<DeadLetterView>,
    /// `after` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetterView {
    id: u64,
    request_id: String,
    function: String,
    version: String,
    condition: String,
    attempts: u32,
    accepted_unix_ms: u64,
    unix_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The event, base64: it may be anything.
    payload_base64: String,
}

impl Api {
    /// `GET /hearth/v1/usage`
    pub(super) async fn hearth_usage(&self, call: Call) -> Result<Response, ApiError> {
        let account = &call.key.account;
        // What was counted in the last second is in memory still.
        self.metering.flush().await?;
        let usage = self.deps.usage.read(account).await?;
        let functions = usage.iter().map(|(name, usage)| FunctionUsage::of(name.to_string(), usage)).collect();
        json(200, &UsageReport { account: account.to_string(), functions })
    }

    /// `GET /hearth/v1/dead-letters`
    pub(super) async fn hearth_dead_letters(&self, call: Call) -> Result<Response, ApiError> {
        let limit = call.query_number("limit", "limit", DEAD_LETTERS_MAX, DEAD_LETTERS_DEFAULT)? as usize;
        let after = match call.query("after") {
            None => None,
            Some(text) => {
                let invalid = |_| ApiError::invalid_parameter("after must be the next of the page before");
                Some(text.parse::<u64>().map_err(invalid)?)
            }
        };
        let letters = self.deps.events.dead_letters(&call.key.account, after, limit).await?;
        let next = (letters.len() == limit).then(|| letters.last().map(|(id, _)| *id)).flatten();
        let dead_letters = letters.into_iter().map(|(id, letter)| DeadLetterView::of(id, letter)).collect();
        json(200, &DeadLetterPage { dead_letters, next })
    }
}

impl FunctionUsage {
    fn of(name: String, usage: &Usage) -> Self {
        let Usage { invocations, errors, throttles, cold_starts, billed_ms, .. } = *usage;
        Self { name, invocations, errors, throttles, cold_starts, billed_ms, gb_seconds: usage.gb_seconds() }
    }
}

impl DeadLetterView {
    fn of(id: u64, letter: DeadLetter) -> Self {
        let event = letter.event;
        Self {
            id,
            request_id: event.request_id.to_string(),
            function: event.name.to_string(),
            version: event.version.to_string(),
            condition: letter.condition,
            attempts: event.failed_attempts,
            accepted_unix_ms: event.accepted_unix_ms,
            unix_ms: letter.unix_ms,
            error: letter.error,
            payload_base64: STANDARD.encode(&event.payload),
        }
    }
}
