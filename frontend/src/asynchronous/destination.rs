//! Where an event goes that was given up: the `OnFailure` target and the record it gets.
//!
//! The record is AWS's (Lambda developer guide, "Capturing records of Lambda asynchronous invocations").

use bytes::Bytes;
use hearth_domain::limits::ASYNC_REQUEST_MAX_BYTES;
use hearth_domain::{AccountId, FunctionName, Version};
use hearth_store::event::Event;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::asynchronous::FailedRun;
use crate::asynchronous::schedule::Condition;
use crate::calendar;

/// Most failures that follow from each other, each the event of the next: then the record becomes a dead letter. Breaks
/// circles of functions that are each other's `OnFailure` (AWS stops recursive loops after about 16 invocations, too).
pub const FORWARDS_MAX: u32 = 16;

/// A function that gets the records of another's failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionTarget {
    /// The function.
    pub name: FunctionName,
    /// Its version.
    pub version: Version,
    /// Its ARN as it was configured.
    pub arn: String,
}

impl FunctionTarget {
    /// Reads a configured target: `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:VERSION]` of this account. Anything
    /// else (a queue's ARN, an alias, another account's function) is no function that we can invoke.
    #[must_use]
    pub fn read(arn: &str, account: &AccountId) -> Option<Self> {
        let mut parts = arn.split(':');
        let is_lambda = parts.next()? == "arn" && parts.next()?.starts_with("aws") && parts.next()? == "lambda";
        let _region = parts.next()?;
        let is_ours = parts.next()? == account.as_str() && parts.next()? == "function";
        let name = parts.next()?.parse().ok()?;
        let version = parts.next().map_or(Some(Version::Latest), |version| version.parse().ok())?;
        (is_lambda && is_ours && parts.next().is_none()).then(|| Self { name, version, arn: arn.to_owned() })
    }
}

/// The record of a failure, or `None` if it would be larger than an event may be.
#[must_use]
pub fn record(event: &Event, condition: Condition, last_run: Option<&FailedRun>, now_unix_ms: u64) -> Option<Bytes> {
    let record = Record {
        version: "1.0",
        timestamp: calendar::last_modified(now_unix_ms).replace("+0000", "Z"),
        request_context: RequestContext {
            request_id: event.request_id.as_str(),
            function_arn: qualified(&event.invoked_arn),
            condition: condition.name(),
            approximate_invoke_count: event.failed_attempts,
        },
        request_payload: document(&event.payload),
        response_context: last_run.map(|run| ResponseContext {
            status_code: 200,
            executed_version: run.executed_version.to_string(),
            function_error: "Unhandled",
        }),
        response_payload: last_run.map(|run| document(&run.document)),
    };
    let bytes = serde_json::to_vec(&record).ok()?;
    (bytes.len() <= ASYNC_REQUEST_MAX_BYTES).then(|| bytes.into())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    request_payload: Document<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<Document<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: String,
    condition: &'static str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: String,
    function_error: &'static str,
}

/// A payload within the record: as it is if it is JSON, else as a string.
#[derive(Serialize)]
#[serde(untagged)]
enum Document<'a> {
    Json(&'a RawValue),
    Text(String),
}

fn document(payload: &[u8]) -> Document<'_> {
    match serde_json::from_slice(payload) {
        Ok(json) => Document::Json(json),
        Err(_) => Document::Text(String::from_utf8_lossy(payload).into_owned()),
    }
}

/// The ARN with its qualifier; `$LATEST` if it was invoked without one.
fn qualified(arn: &str) -> String {
    if arn.split(':').count() > 7 { arn.to_owned() } else { format!("{arn}:$LATEST") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

    fn event(payload: &[u8]) -> Event {
        Event {
            request_id: "e4b46cbf".parse().unwrap(),
            account: "000000000000".parse().unwrap(),
            name: "f".parse().unwrap(),
            version: Version::Latest,
            alias: None,
            invoked_arn: ARN.into(),
            payload: Bytes::copy_from_slice(payload),
            accepted_unix_ms: 0,
            due_unix_ms: 0,
            failed_attempts: 3,
            deferrals: 0,
            forwards: 0,
        }
    }

    fn parsed(record: Option<Bytes>) -> Value {
        serde_json::from_slice(&record.unwrap()).unwrap()
    }

    #[test]
    fn the_record_is_the_documented_one() {
        let run = FailedRun { executed_version: Version::Number(7), document: br#"{"errorType":"E"}"#[..].into() };
        let record = record(&event(b"{\"a\": 1}"), Condition::RetriesExhausted, Some(&run), 1_573_755_365_568);
        let expected = json!({
            "version": "1.0",
            "timestamp": "2019-11-14T18:16:05.568Z",
            "requestContext": {
                "requestId": "e4b46cbf",
                "functionArn": format!("{ARN}:$LATEST"),
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": {"a": 1},
            "responseContext": {"statusCode": 200, "executedVersion": "7", "functionError": "Unhandled"},
            "responsePayload": {"errorType": "E"},
        });
        assert_eq!(parsed(record), expected);
    }

    #[test]
    fn an_event_that_never_ran_has_no_response() {
        let mut event = event(b"not json");
        event.invoked_arn = format!("{ARN}:7");
        let record = parsed(record(&event, Condition::EventAgeExceeded, None, 0));
        assert_eq!(record["requestPayload"], "not json");
        assert_eq!(record["requestContext"]["functionArn"], format!("{ARN}:7"));
        assert!(record.get("responseContext").is_none() && record.get("responsePayload").is_none());
    }

    #[test]
    fn a_record_larger_than_an_event_may_be_is_none() {
        let payload = format!("{:?}", "x".repeat(ASYNC_REQUEST_MAX_BYTES - 100));
        assert_eq!(record(&event(payload.as_bytes()), Condition::RetriesExhausted, None, 0), None);
    }

    #[test]
    fn targets() {
        let account = "000000000000".parse().unwrap();
        let read = |arn: &str| FunctionTarget::read(arn, &account).map(|target| target.version);
        assert_eq!(read(ARN), Some(Version::Latest));
        assert_eq!(read(&format!("{ARN}:$LATEST")), Some(Version::Latest));
        assert_eq!(read(&format!("{ARN}:3")), Some(Version::Number(3)));
        for other in [
            "",
            "f",
            "arn:aws:sqs:us-east-1:000000000000:queue",
            "arn:aws:lambda:us-east-1:111111111111:function:f",
            "arn:aws:lambda:us-east-1:000000000000:function:f:alias",
            "arn:aws:lambda:us-east-1:000000000000:function:f:1:2",
            "arn:aws:lambda:us-east-1:000000000000:layer:f",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
