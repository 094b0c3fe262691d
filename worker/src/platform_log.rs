//! What the platform itself writes into a function's log, as the function wants it: text as ever, or JSON documents
//! (AWS Lambda developer guide, "Log formats" and "Lambda Telemetry API Event schema reference").
//!
//! Which events a function sees follows from its `SystemLogLevel`; the level of each is that of the guide's table
//! "System log level event mapping". Text has no levels.

mod json;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hearth_domain::{FunctionSpec, InvocationUsage, LogFormat, LogLevel, RequestId};

use crate::calendar::Date;
use crate::slot::{Failure, timed_out};
use crate::usage::{self, Restore, Status};

/// Something that the log is to tell.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    /// An environment's init begins.
    InitStart,
    /// It went well.
    InitDone {
        /// How long it took.
        took: Duration,
    },
    /// It did not.
    InitFailed {
        /// How long it ran.
        took: Duration,
        /// Whether it was the second try, within a call.
        within_call: bool,
        /// How it ended.
        status: Status<'a>,
    },
    /// An environment is restored from a snapshot.
    RestoreStart,
    /// It was.
    RestoreDone {
        /// How long it took.
        took: Duration,
    },
    /// A call begins.
    Start {
        /// Which.
        request: &'a RequestId,
    },
    /// The environment of a call failed.
    Failed {
        /// Which call.
        request: &'a RequestId,
        /// How.
        failure: &'a Failure,
    },
    /// A call is over.
    End {
        /// Which.
        request: &'a RequestId,
        /// What it used.
        usage: &'a InvocationUsage,
        /// The restore that it was the first after.
        restore: Option<Restore>,
        /// How it ended.
        status: Status<'a>,
    },
}

/// The lines for an event at `unix_ms`, with line feeds between them; `None` where the function wants none.
pub(crate) fn lines(function: &FunctionSpec, unix_ms: u64, event: Event<'_>) -> Option<String> {
    match function.logging.format {
        LogFormat::Text => text(function, unix_ms, event),
        LogFormat::Json => {
            let least = function.logging.system_level.unwrap_or(LogLevel::Info);
            json::lines(function, &Date::from_unix_ms(unix_ms).to_string(), event, least)
        }
    }
}

fn text(function: &FunctionSpec, unix_ms: u64, event: Event<'_>) -> Option<String> {
    Some(match event {
        Event::InitStart => usage::init_start_line(function),
        Event::InitDone { .. } => return None,
        Event::InitFailed { took, within_call, status } => usage::init_report_line(took, within_call, status),
        Event::RestoreStart => usage::restore_start_line(function),
        Event::RestoreDone { took } => usage::restore_report_line(took),
        Event::Start { request } => usage::start_line(request, function.function.version),
        Event::Failed { request, failure: Failure::TimedOut(timeout) } => {
            format!("{} {request} {}", Date::from_unix_ms(unix_ms), timed_out(*timeout))
        }
        Event::Failed { request, failure } => {
            format!("RequestId: {request} {}\n{}", failure.message(), failure.error_type())
        }
        Event::End { request, usage, restore, status } => usage::end_lines(request, usage, restore, status),
    })
}
