//! Events in both formats, and what each level lets through.

use hearth_domain::{LogFormat, LogLevel, Logging, Timeout, Version};
use serde_json::{Value, json};

use super::*;
use crate::slot::testing::function;

const NOW: u64 = 1_795_318_800_123;

fn json_function(least: LogLevel) -> FunctionSpec {
    let logging = Logging { format: LogFormat::Json, system_level: Some(least), ..Logging::default() };
    FunctionSpec { logging, ..function("python3.11") }
}

fn documents(function: &FunctionSpec, event: Event<'_>) -> Vec<Value> {
    let text = lines(function, NOW, event).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn types(function: &FunctionSpec, event: Event<'_>) -> Vec<String> {
    documents(function, event).iter().map(|document| document["type"].as_str().unwrap().to_owned()).collect()
}

fn request() -> RequestId {
    RequestId::new("r-1").unwrap()
}

fn used() -> InvocationUsage {
    InvocationUsage {
        duration: Duration::from_micros(1_250),
        init_duration: Some(Duration::from_millis(40)),
        billed_ms: 42,
        memory_mb: 128,
        max_memory_used_bytes: 31 << 20,
    }
}

#[test]
fn a_call_in_json() {
    let (function, request, usage) = (json_function(LogLevel::Info), request(), used());
    assert_eq!(
        documents(&function, Event::Start { request: &request }),
        [json!({
            "time": "2026-11-22T03:40:00.123Z", "type": "platform.start",
            "record": { "requestId": "r-1", "version": Version::Latest.to_string() }
        })]
    );
    let end = Event::End { request: &request, usage: &usage, restore: None, status: Status::Sound };
    assert_eq!(
        documents(&function, end),
        [json!({
            "time": "2026-11-22T03:40:00.123Z", "type": "platform.report",
            "record": {
                "requestId": "r-1", "status": "success",
                "metrics": {
                    "durationMs": 1.25, "billedDurationMs": 42, "memorySizeMB": 128, "maxMemoryUsedMB": 31,
                    "initDurationMs": 40.0
                }
            }
        })]
    );
}

#[test]
fn levels_let_through_what_matters() {
    let (request, usage) = (request(), used());
    let end = |status| Event::End { request: &request, usage: &usage, restore: None, status };
    let [debug, info, warn] = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn].map(json_function);
    assert_eq!(types(&debug, end(Status::Sound)), ["platform.runtimeDone", "platform.report"]);
    assert_eq!(types(&info, end(Status::Sound)), ["platform.report"]);
    assert!(types(&warn, end(Status::Sound)).is_empty());
    assert_eq!(types(&warn, end(Status::Timeout)), ["platform.runtimeDone", "platform.report"]);
    let took = Duration::from_millis(5);
    assert_eq!(types(&debug, Event::InitDone { took }), ["platform.initRuntimeDone", "platform.initReport"]);
    assert!(types(&info, Event::InitDone { took }).is_empty());
    assert_eq!(types(&info, Event::InitStart), ["platform.initStart"]);
    let failed = Event::InitFailed { took, within_call: false, status: Status::Error("Runtime.Unknown") };
    assert_eq!(documents(&warn, failed)[1]["record"]["errorType"], "Runtime.Unknown");
}

#[test]
fn text_is_as_ever() {
    let (function, request) = (function("python3.11"), request());
    let text = |event| lines(&function, NOW, event).unwrap_or_default();
    assert_eq!(text(Event::Start { request: &request }), "START RequestId: r-1 Version: $LATEST");
    let failure = Failure::TimedOut(Timeout::new(3).unwrap());
    assert_eq!(
        text(Event::Failed { request: &request, failure: &failure }),
        "2026-11-22T03:40:00.123Z r-1 Task timed out after 3.00 seconds"
    );
    assert_eq!(text(Event::InitDone { took: Duration::ZERO }), "");
    assert_eq!(
        text(Event::InitStart),
        "INIT_START Runtime Version: python3.11\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:python3.11"
    );
}
