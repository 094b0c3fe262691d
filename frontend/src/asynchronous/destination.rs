//! The record of an event that succeeded or was given up, as its destinations get it.
//!
//! AWS's (Lambda developer guide, "Capturing records of Lambda asynchronous invocations"); around it for an event bus
//! what EventBridge puts around events of AWS services.

use bytes::Bytes;
use hearth_domain::AccountId;
use hearth_store::event::Event;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::asynchronous::Run;
use crate::asynchronous::schedule::Condition;
use crate::calendar;

/// How an event ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// The event, with its last counts.
    pub event: &'a Event,
    /// Why it ended.
    pub condition: Condition,
    /// Its last run, if the function ran.
    pub last_run: Option<&'a Run>,
    /// When, Unix milliseconds.
    pub unix_ms: u64,
}

/// A record that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The record.
    pub bytes: Bytes,
    /// Whether the event's payload is in it.
    pub has_payload: bool,
}

impl Ending<'_> {
    /// The record in at most `max_bytes`: what is too much is left out, first the answer, then the payload (AWS: records
    /// above the limit of their destination come without payloads). `None` if even a record without both does not fit.
    #[must_use]
    pub fn record(&self, max_bytes: usize) -> Option<Recorded> {
        let parts = [(true, true), (true, false), (false, true), (false, false)];
        parts.into_iter().find_map(|(has_payload, has_answer)| {
            let bytes: Bytes = serde_json::to_vec(&self.parts(has_payload, has_answer)).ok()?.into();
            (bytes.len() <= max_bytes).then_some(Recorded { bytes, has_payload })
        })
    }

    /// The record as the `detail` of an event on a bus.
    #[must_use]
    pub fn bus_event(&self, id: &str, bus_arn: &str, region: &str, max_bytes: usize) -> Option<Recorded> {
        let room = max_bytes.checked_sub(self.around(id, bus_arn, region, "null")?.len())?;
        let Recorded { bytes, has_payload } = self.record(room)?;
        let bytes = self.around(id, bus_arn, region, std::str::from_utf8(&bytes).ok()?)?.into();
        Some(Recorded { bytes, has_payload })
    }

    fn around(&self, id: &str, bus_arn: &str, region: &str, detail: &str) -> Option<Vec<u8>> {
        let success = self.condition == Condition::Success;
        let detail_type = if success { "Success" } else { "Failure" };
        let event = BusEvent {
            version: "0",
            id,
            detail_type: format!("Lambda Function Invocation Result - {detail_type}"),
            source: "lambda",
            account: &self.event.account,
            // To the second.
            time: calendar::last_modified(self.unix_ms / 1_000 * 1_000).replace(".000+0000", "Z"),
            region,
            resources: [bus_arn.to_owned(), qualified(&self.event.invoked_arn)],
            detail: serde_json::from_str(detail).ok()?,
        };
        serde_json::to_vec(&event).ok()
    }

    fn parts(&self, has_payload: bool, has_answer: bool) -> Record<'_> {
        let failed = self.condition != Condition::Success;
        // Runs that succeeded are counted nowhere else.
        let runs = self.event.failed_attempts.saturating_add(u32::from(!failed));
        Record {
            version: "1.0",
            timestamp: calendar::last_modified(self.unix_ms).replace("+0000", "Z"),
            request_context: RequestContext {
                request_id: self.event.request_id.as_str(),
                function_arn: qualified(&self.event.invoked_arn),
                condition: self.condition.name(),
                approximate_invoke_count: runs,
            },
            request_payload: has_payload.then(|| document(&self.event.payload)),
            response_context: self.last_run.map(|run| ResponseContext {
                status_code: 200,
                executed_version: run.executed_version.to_string(),
                function_error: failed.then_some("Unhandled"),
            }),
            response_payload: self.last_run.filter(|_| has_answer).map(|run| document(&run.document)),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_payload: Option<Document<'a>>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

/// EventBridge user guide, "Event structure".
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct BusEvent<'a> {
    version: &'static str,
    id: &'a str,
    detail_type: String,
    source: &'static str,
    account: &'a AccountId,
    time: String,
    region: &'a str,
    /// The bus, then the function.
    resources: [String; 2],
    detail: &'a RawValue,
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
    use hearth_domain::Version;
    use serde_json::{Value, json};

    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
    const BUS: &str = "arn:aws:events:us-east-1:000000000000:event-bus/b";
    const MAX: usize = 256 * 1024;

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

    fn run(document: &str) -> Run {
        Run { executed_version: Version::Number(7), document: Bytes::copy_from_slice(document.as_bytes()) }
    }

    fn ending<'a>(event: &'a Event, condition: Condition, last_run: Option<&'a Run>) -> Ending<'a> {
        Ending { event, condition, last_run, unix_ms: 1_573_755_365_568 }
    }

    fn parsed(record: Option<Recorded>) -> Value {
        serde_json::from_slice(&record.unwrap().bytes).unwrap()
    }

    #[test]
    fn the_record_of_a_failure_is_the_documented_one() {
        let (event, run) = (event(b"{\"a\": 1}"), run(r#"{"errorType":"E"}"#));
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
        assert_eq!(parsed(ending(&event, Condition::RetriesExhausted, Some(&run)).record(MAX)), expected);
    }

    #[test]
    fn the_record_of_a_success_counts_the_run_and_has_no_error() {
        let (event, run) = (Event { failed_attempts: 0, ..event(b"{}") }, run("\"done\""));
        let record = parsed(ending(&event, Condition::Success, Some(&run)).record(MAX));
        assert_eq!(record["requestContext"]["condition"], "Success");
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 1);
        assert_eq!(record["responseContext"], json!({"statusCode": 200, "executedVersion": "7"}));
        assert_eq!(record["responsePayload"], "done");
    }

    #[test]
    fn a_bus_gets_the_record_as_detail() {
        let (event, run) = (event(b"{}"), run("{}"));
        let ending = ending(&event, Condition::RetriesExhausted, Some(&run));
        let sent = parsed(ending.bus_event("id", BUS, "us-east-1", MAX));
        assert_eq!(sent["detail"], parsed(ending.record(MAX)));
        assert_eq!(sent["detail-type"], "Lambda Function Invocation Result - Failure");
        assert_eq!(sent["resources"], json!([BUS, format!("{ARN}:$LATEST")]));
        assert_eq!((&sent["source"], &sent["time"]), (&json!("lambda"), &json!("2019-11-14T18:16:05Z")));
    }

    #[test]
    fn an_event_that_never_ran_has_no_response() {
        let mut event = event(b"not json");
        event.invoked_arn = format!("{ARN}:7");
        let record = parsed(ending(&event, Condition::EventAgeExceeded, None).record(MAX));
        assert_eq!(record["requestPayload"], "not json");
        assert_eq!(record["requestContext"]["functionArn"], format!("{ARN}:7"));
        assert!(record.get("responseContext").is_none() && record.get("responsePayload").is_none());
    }

    #[test]
    fn what_is_too_large_is_left_out() {
        let big = format!("{:?}", "x".repeat(2_000));
        let (small, large, run) = (event(b"{}"), event(big.as_bytes()), run(&big));
        let record = |event| ending(event, Condition::RetriesExhausted, Some(&run)).record(1_500);
        let of_small = record(&small);
        assert!(of_small.as_ref().unwrap().has_payload);
        assert!(parsed(of_small).get("responsePayload").is_none());
        let of_large = record(&large);
        assert!(!of_large.as_ref().unwrap().has_payload);
        assert_eq!(parsed(of_large)["responseContext"]["executedVersion"], "7");
        assert_eq!(ending(&large, Condition::RetriesExhausted, None).record(100), None);
        assert_eq!(ending(&large, Condition::RetriesExhausted, None).bus_event("id", BUS, "r", 100), None);
    }
}
