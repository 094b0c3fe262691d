//! What an invocation is billed, and the lines that frame it in the log, letter for letter as Lambda writes them.
//!
//! Billed is the handler's time plus, for the first call of an environment, the init before it, rounded up to whole
//! milliseconds once, on the sum. Since August 2025 Lambda bills init for every runtime
//! (AWS Compute Blog, "AWS Lambda standardizes billing for INIT Phase"); before, only for custom ones.

use std::fmt;
use std::time::Duration;

use hearth_domain::{FunctionSpec, InvocationUsage, MemorySize, RequestId, Version};

const BYTES_PER_MB: u64 = 1024 * 1024;

/// The restore of the environment that a call is the first of (AWS Lambda developer guide, "Monitoring for Lambda
/// SnapStart").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restore {
    /// All of it.
    pub(crate) took: Duration,
    /// What is billed of it: the after-restore hooks.
    pub(crate) billed: Duration,
}

/// Puts an invocation's numbers together.
pub(crate) fn usage(
    duration: Duration,
    init: Option<Duration>,
    restore: Option<Restore>,
    memory: MemorySize,
    peak_bytes: u64,
) -> InvocationUsage {
    InvocationUsage {
        duration,
        init_duration: init,
        billed_ms: whole_ms(
            duration + init.unwrap_or_default() + restore.map(|restore| restore.billed).unwrap_or_default(),
        ),
        memory_mb: memory.get(),
        max_memory_used_bytes: peak_bytes,
    }
}

/// How an invocation or an init ended, as REPORT and INIT_REPORT tell it; success is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status<'a> {
    /// The environment is sound, whatever the handler answered.
    Sound,
    /// The environment ran out of time.
    Timeout,
    /// The environment broke.
    Error(&'a str),
}

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound => Ok(()),
            Self::Timeout => f.write_str("Status: timeout"),
            Self::Error(error_type) => write!(f, "Status: error\tError Type: {error_type}"),
        }
    }
}

/// `START RequestId: … Version: …`
pub(crate) fn start_line(request: &RequestId, version: Version) -> String {
    format!("START RequestId: {request} Version: {version}")
}

/// `END RequestId: …` and `REPORT RequestId: …`, two lines.
pub(crate) fn end_lines(
    request: &RequestId,
    usage: &InvocationUsage,
    restore: Option<Restore>,
    status: Status<'_>,
) -> String {
    let mut text = format!(
        "END RequestId: {request}\nREPORT RequestId: {request}\tDuration: {}\tBilled Duration: {} ms\t\
         Memory Size: {} MB\tMax Memory Used: {} MB\t",
        Ms(usage.duration),
        usage.billed_ms,
        usage.memory_mb,
        used_mb(usage),
    );
    if let Some(init) = usage.init_duration {
        text.push_str(&format!("Init Duration: {}\t", Ms(init)));
    }
    if let Some(Restore { took, billed }) = restore {
        let billed_ms = whole_ms(billed);
        text.push_str(&format!("Restore Duration: {}\tBilled Restore Duration: {billed_ms} ms\t", Ms(took)));
    }
    if status != Status::Sound {
        text.push_str(&status.to_string());
    }
    text
}

/// `INIT_START Runtime Version: … Runtime Version ARN: …`
pub(crate) fn init_start_line(function: &FunctionSpec) -> String {
    format!("INIT_START {}", runtime_version(function))
}

/// `RESTORE_START Runtime Version: … Runtime Version ARN: …`
pub(crate) fn restore_start_line(function: &FunctionSpec) -> String {
    format!("RESTORE_START {}", runtime_version(function))
}

fn runtime_version(function: &FunctionSpec) -> String {
    let (runtime, region) = (function.runtime, &function.region);
    format!("Runtime Version: {runtime}\tRuntime Version ARN: arn:aws:lambda:{region}::runtime:{runtime}")
}

/// `RESTORE_REPORT Restore Duration: …`
pub(crate) fn restore_report_line(took: Duration) -> String {
    format!("RESTORE_REPORT Restore Duration: {}", Ms(took))
}

/// `INIT_REPORT …` of an init that failed. Lambda calls its first try phase `init` and the one within the call `invoke`.
pub(crate) fn init_report_line(duration: Duration, within_call: bool, status: Status<'_>) -> String {
    let phase = if within_call { "invoke" } else { "init" };
    format!("INIT_REPORT Init Duration: {}\tPhase: {phase}\t{status}", Ms(duration))
}

/// Never above the configured size: what the kernel counts beyond it (its own pages, rounding) is not the function's.
pub(crate) fn used_mb(usage: &InvocationUsage) -> u64 {
    usage.max_memory_used_bytes.div_ceil(BYTES_PER_MB).min(u64::from(usage.memory_mb))
}

/// Begun milliseconds.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Milliseconds with two digits after the point.
struct Ms(Duration);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.0.as_nanos() + 5_000) / 10_000;
        write!(f, "{}.{:02} ms", hundredths / 100, hundredths % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestId {
        RequestId::new("r-1").unwrap()
    }

    fn memory() -> MemorySize {
        MemorySize::new(128).unwrap()
    }

    #[test]
    fn a_warm_call() {
        let usage = usage(Duration::from_nanos(1_234_567), None, None, memory(), 30 * BYTES_PER_MB + 1);
        assert_eq!(usage.billed_ms, 2);
        assert_eq!(
            end_lines(&request(), &usage, None, Status::Sound),
            "END RequestId: r-1\nREPORT RequestId: r-1\tDuration: 1.23 ms\tBilled Duration: 2 ms\t\
             Memory Size: 128 MB\tMax Memory Used: 31 MB\t"
        );
        assert_eq!(start_line(&request(), Version::Latest), "START RequestId: r-1 Version: $LATEST");
    }

    /// The numbers of a line that Lambda wrote in 2026: 1248.31 ms and 293.05 ms of init were billed as 1542 ms.
    #[test]
    fn init_is_billed_in_one_rounding() {
        let init = Some(Duration::from_micros(293_050));
        let usage = usage(Duration::from_micros(1_248_310), init, None, memory(), 94 * BYTES_PER_MB);
        assert_eq!(usage.billed_ms, 1_542);
        assert!(end_lines(&request(), &usage, None, Status::Error("Runtime.ExitError")).ends_with(
            "\tDuration: 1248.31 ms\tBilled Duration: 1542 ms\tMemory Size: 128 MB\tMax Memory Used: 94 MB\t\
             Init Duration: 293.05 ms\tStatus: error\tError Type: Runtime.ExitError"
        ));
    }

    /// The numbers of the developer guide's example: 48.75 ms and 43 ms of hooks are billed as 92 ms.
    #[test]
    fn of_a_restore_its_hooks_are_billed() {
        let restore = Some(Restore { took: Duration::from_micros(553_980), billed: Duration::from_millis(43) });
        let usage = usage(Duration::from_micros(48_750), None, restore, memory(), 0);
        assert_eq!(usage.billed_ms, 92);
        let lines = end_lines(&request(), &usage, restore, Status::Sound);
        assert!(lines.ends_with("\tRestore Duration: 553.98 ms\tBilled Restore Duration: 43 ms\t"), "{lines}");
        assert_eq!(restore_report_line(Duration::from_micros(484_320)), "RESTORE_REPORT Restore Duration: 484.32 ms");
    }

    #[test]
    fn failed_inits() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            init_report_line(ten, false, Status::Timeout),
            "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout"
        );
        assert_eq!(
            init_report_line(ten, true, Status::Error("Runtime.ImportModuleError")),
            "INIT_REPORT Init Duration: 10000.00 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError"
        );
    }

    #[test]
    fn memory_is_never_reported_above_its_size() {
        let usage = usage(Duration::ZERO, None, None, memory(), 200 * BYTES_PER_MB);
        assert!(
            end_lines(&request(), &usage, None, Status::Timeout).contains("Max Memory Used: 128 MB\tStatus: timeout")
        );
    }
}
