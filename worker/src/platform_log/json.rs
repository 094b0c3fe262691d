//! Events as JSON documents, one a line: `{"time":…,"type":"platform.…","record":{…}}`.

use std::time::Duration;

use hearth_domain::{FunctionSpec, InvocationUsage, LogLevel, RequestId};
use serde::Serialize;

use super::Event;
use crate::usage::{Restore, Status, used_mb, whole_ms};

#[derive(Serialize)]
struct Document<'a, R> {
    time: &'a str,
    r#type: &'static str,
    record: R,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Begin<'a> {
    initialization_type: &'static str,
    phase: &'static str,
    runtime_version: String,
    runtime_version_arn: String,
    function_name: &'a str,
    function_version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Init<'a> {
    initialization_type: &'static str,
    phase: &'static str,
    #[serde(flatten)]
    outcome: Outcome<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Took>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    request_id: &'a str,
    version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a, M> {
    request_id: &'a str,
    metrics: M,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Took {
    duration_ms: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    duration_ms: f64,
    billed_duration_ms: u64,
    #[serde(rename = "memorySizeMB")]
    memory_size_mb: u32,
    #[serde(rename = "maxMemoryUsedMB")]
    max_memory_used_mb: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billed_restore_duration_ms: Option<u64>,
}

/// The documents of an event that matter at least as much as `least`.
pub(super) fn lines(function: &FunctionSpec, time: &str, event: Event<'_>, least: LogLevel) -> Option<String> {
    let mut page = Page { time, least, text: String::new() };
    let init = |phase, outcome, took: Option<Duration>| Init {
        initialization_type: initialization(function),
        phase,
        outcome,
        metrics: took.map(|took| Took { duration_ms: ms(took) }),
    };
    match event {
        Event::InitStart => page.add(LogLevel::Info, "platform.initStart", begin(function)),
        Event::InitDone { took } => {
            let report = if function.snap_start { LogLevel::Info } else { LogLevel::Debug };
            page.add(LogLevel::Debug, "platform.initRuntimeDone", init("init", SUCCESS, None));
            page.add(report, "platform.initReport", init("init", SUCCESS, Some(took)));
        }
        Event::InitFailed { took, within_call, status } => {
            let phase = if within_call { "invoke" } else { "init" };
            page.add(LogLevel::Warn, "platform.initRuntimeDone", init(phase, outcome(status), None));
            page.add(LogLevel::Warn, "platform.initReport", init(phase, outcome(status), Some(took)));
        }
        Event::RestoreStart => page.add(LogLevel::Info, "platform.restoreStart", begin(function)),
        Event::RestoreDone { took } => {
            page.add(LogLevel::Info, "platform.restoreReport", init("restore", SUCCESS, Some(took)));
        }
        Event::Start { request } => {
            let version = function.function.version.to_string();
            page.add(LogLevel::Info, "platform.start", Start { request_id: request.as_str(), version });
        }
        // The end of the call tells it.
        Event::Failed { .. } => {}
        Event::End { request, usage, restore, status } => page.add_end(request, usage, restore, status),
    }
    (!page.text.is_empty()).then_some(page.text)
}

/// Documents that were let through.
struct Page<'a> {
    time: &'a str,
    least: LogLevel,
    text: String,
}

impl Page<'_> {
    fn add(&mut self, level: LogLevel, kind: &'static str, record: impl Serialize) {
        if level < self.least {
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        // Strings and numbers always make a document.
        let document = serde_json::to_string(&Document { time: self.time, r#type: kind, record });
        self.text.push_str(&document.unwrap_or_default());
    }

    fn add_end(&mut self, request: &RequestId, usage: &InvocationUsage, restore: Option<Restore>, status: Status<'_>) {
        let (request_id, outcome) = (request.as_str(), outcome(status));
        let is_sound = status == Status::Sound;
        let took = Took { duration_ms: ms(usage.duration) };
        let done = if is_sound { LogLevel::Debug } else { LogLevel::Warn };
        self.add(done, "platform.runtimeDone", Done { request_id, metrics: took, outcome });
        let metrics = Metrics {
            duration_ms: ms(usage.duration),
            billed_duration_ms: usage.billed_ms,
            memory_size_mb: usage.memory_mb,
            max_memory_used_mb: used_mb(usage),
            init_duration_ms: usage.init_duration.map(ms),
            restore_duration_ms: restore.map(|restore| ms(restore.took)),
            billed_restore_duration_ms: restore.map(|restore| whole_ms(restore.billed)),
        };
        let report = if is_sound { LogLevel::Info } else { LogLevel::Warn };
        self.add(report, "platform.report", Done { request_id, metrics, outcome });
    }
}

const SUCCESS: Outcome<'static> = Outcome { status: "success", error_type: None };

const fn outcome(status: Status<'_>) -> Outcome<'_> {
    match status {
        Status::Sound => SUCCESS,
        Status::Timeout => Outcome { status: "timeout", error_type: None },
        Status::Error(error_type) => Outcome { status: "error", error_type: Some(error_type) },
    }
}

fn begin(function: &FunctionSpec) -> Begin<'_> {
    let (runtime, region) = (function.runtime, &function.region);
    Begin {
        initialization_type: initialization(function),
        phase: "init",
        runtime_version: runtime.to_string(),
        runtime_version_arn: format!("arn:aws:lambda:{region}::runtime:{runtime}"),
        function_name: function.function.name.as_str(),
        function_version: function.function.version.to_string(),
    }
}

const fn initialization(function: &FunctionSpec) -> &'static str {
    if function.snap_start { "snap-start" } else { "on-demand" }
}

/// Milliseconds with at most three digits after the point.
fn ms(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1_000.0
}
