//! Real sandboxes, the real shim, real languages: as plain processes always, in jails when run as root.
//!
//! The shim is the one beside this test's target directory: `cargo xtask shim` builds it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{
    BundleDigest, EphemeralStorage, FencingToken, FunctionSpec, HolderId, LogGroup, MemorySize, SlotId, SlotOutcome,
    Timeout,
};
use hearth_microvm::jail::{JailConfig, JailLauncher};
use hearth_microvm::process::{ProcessConfig, ProcessLauncher};
use hearth_microvm::{Isolation, Launcher};
use hearth_protocol::Worker as _;
use hearth_protocol::worker::{FenceRequest, InitSlotError, InvokeResponse, LogQuery};
use hearth_worker::Worker;

use crate::fixture::{TOKEN, function, init_slot, invocation, outcome, start, text};
use crate::neighbours::{Bundles, FakePlacement};

/// A worker on real sandboxes.
struct Real {
    worker: Arc<Worker>,
    placement: Arc<FakePlacement>,
    isolation: Isolation,
    bundles: Arc<Bundles>,
    _alone: Arc<tokio::sync::MutexGuard<'static, ()>>,
    _state: tempfile::TempDir,
    _dir: tempfile::TempDir,
}

impl Real {
    /// One worker for each isolation that this test may use here, with `files` as its only bundle.
    async fn each(files: &[(&str, &str, u32)], pool_size: u32) -> Vec<Self> {
        let alone = Arc::new(ALONE.lock().await);
        let mut all = Vec::new();
        for isolation in [Isolation::Process, Isolation::Jail] {
            let state = tempfile::tempdir().unwrap();
            let launcher: Arc<dyn Launcher> = match isolation {
                Isolation::Process => {
                    let config = ProcessConfig { state_dir: state.path().to_owned() };
                    Arc::new(ProcessLauncher::new(config).unwrap())
                }
                _ if !is_root() => {
                    eprintln!("NOT TESTED in a jail: this test makes jails only as root");
                    continue;
                }
                _ => Arc::new(JailLauncher::new(JailConfig::new(state.path())).unwrap()),
            };
            let bundles = Bundles::new();
            bundles.add(BUNDLE, files);
            let (worker, placement, dir) = start(launcher, bundles.clone(), shim(), |config| {
                (config.pool_size, config.memory_mb) = (pool_size, Some(8_192));
            })
            .await;
            all.push(Self { worker, placement, isolation, bundles, _alone: alone.clone(), _state: state, _dir: dir });
        }
        for real in &all {
            real.worker.ready().await;
        }
        all
    }

    async fn init(&self, slot: u64, function: FunctionSpec) {
        let isolation = self.isolation;
        let initialized = self.worker.init_slot(init_slot(slot, function)).await;
        initialized.unwrap_or_else(|error| panic!("{isolation}: {}", explain(&error)));
    }

    async fn invoke(&self, slot: u64, payload: &str) -> InvokeResponse {
        self.worker.invoke(invocation(slot, payload)).await.unwrap()
    }

    async fn gone(&self, slot: u64) {
        let mut reports = self.placement.reports.subscribe();
        let without = |report: &Option<hearth_protocol::placement::WorkerReport>| {
            report.as_ref().is_some_and(|report| report.slots.iter().all(|other| other.slot != SlotId(slot)))
        };
        tokio::time::timeout(Duration::from_secs(20), reports.wait_for(without)).await.expect("it stays").unwrap();
    }

    async fn end(&self) {
        self.worker.shutdown(Duration::from_secs(5)).await;
    }
}

/// Workers in one process would start sandboxes while another's code is being written: see the worker's `starting`.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const BUNDLE: BundleDigest = BundleDigest([9; 32]);

fn explain(error: &InitSlotError) -> String {
    match error {
        InitSlotError::InitFailed(failure) => {
            format!("{} {}\n{}", failure.error_type, failure.document, String::from_utf8_lossy(&failure.log_tail))
        }
        other => other.to_string(),
    }
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

fn shim() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let shim = own.parent().and_then(Path::parent).unwrap().join("hearth-shim");
    assert!(shim.exists(), "{} is missing: run `cargo xtask shim`", shim.display());
    shim
}

/// A function of this test's bundle on the Python of this host.
fn python(worker: &Real) -> FunctionSpec {
    let runtime = worker.worker.runtimes().into_iter().find(|runtime| runtime.to_string().starts_with("python"));
    spec(&runtime.expect("this host has no Python").to_string(), "app.handler")
}

fn spec(runtime: &str, handler: &str) -> FunctionSpec {
    let mut spec = function(handler);
    spec.runtime = runtime.parse().unwrap();
    spec.bundle = BUNDLE;
    spec.timeout = Timeout::new(20).unwrap();
    spec
}

fn tail(answer: &InvokeResponse) -> String {
    String::from_utf8_lossy(answer.log_tail.as_ref().unwrap()).into_owned()
}

const APP: &str = r#"
import json, os, subprocess, sys, time

print("module is loaded")

def handler(event, context):
    what = event.get("do")
    if what == "environment":
        return {"name": os.environ["AWS_LAMBDA_FUNCTION_NAME"], "tz": os.environ["TZ"], "id": context.aws_request_id,
                "greeting": os.environ["GREETING"], "cwd": os.getcwd(), "root": os.environ["LAMBDA_TASK_ROOT"],
                "uid": os.getuid(), "pid": os.getpid(), "left": context.get_remaining_time_in_millis()}
    if what == "raise":
        raise KeyError("lost")
    if what == "sleep":
        time.sleep(60)
    if what == "exit":
        os._exit(event["status"])
    if what == "eat memory":
        eaten = []
        while True:
            eaten.append(bytearray(b"x" * (8 << 20)))
    if what == "fork bomb":
        children, refused = 0, None
        while refused is None:
            try:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                children += 1
            except OSError as error:
                refused = error.errno
        return {"children": children, "refused": refused}
    if what == "fill tmp":
        written = 0
        try:
            with open("/tmp/full", "wb") as file:
                while True:
                    written += file.write(b"x" * (1 << 20))
        except OSError as error:
            os.unlink("/tmp/full")
            return {"errno": error.errno, "megabytes": written >> 20}
    if what == "log":
        line = "x" * 1023
        for _ in range(event["kilobytes"]):
            print(line)
    if what == "leave a process":
        subprocess.Popen(["sleep", event["seconds"]], start_new_session=True, stdout=subprocess.DEVNULL)
    if what == "print":
        print("hello from python")
    return event
"#;

#[tokio::test(flavor = "multi_thread")]
async fn python_runs_as_on_lambda() {
    for real in Real::each(&[("app.py", APP, 0o644)], 1).await {
        let mut function = python(&real);
        function.environment.insert("GREETING".into(), "hello".into());
        real.worker.ready().await;
        real.init(1, function).await;
        let answer = real.invoke(1, r#"{"do":"environment"}"#).await;
        let seen: serde_json::Value = serde_json::from_str(&text(&answer)).unwrap();
        assert_eq!((seen["name"].as_str(), seen["tz"].as_str()), (Some("hello"), Some(":UTC")));
        assert_eq!((seen["greeting"].as_str(), &seen["cwd"]), (Some("hello"), &seen["root"]));
        assert!(seen["left"].as_u64().is_some_and(|left| (15_000..=20_000).contains(&left)), "{seen}");
        if real.isolation == Isolation::Jail {
            assert_eq!((seen["uid"].as_u64(), seen["cwd"].as_str()), (Some(993), Some("/var/task")));
            assert_eq!(seen["pid"].as_u64(), Some(2), "the process that was started ahead is not the one that serves");
        }
        assert!(answer.usage.init_duration.is_some() && answer.usage.max_memory_used_bytes > 1 << 20, "{answer:?}");

        let answer = real.invoke(1, r#"{"do":"print"}"#).await;
        assert!(tail(&answer).contains("\nhello from python\nEND RequestId: "), "{}", tail(&answer));

        let answer = real.invoke(1, r#"{"do":"raise"}"#).await;
        assert_eq!((outcome(&answer), answer.slot), ("KeyError", SlotOutcome::Reusable));
        let document: serde_json::Value = serde_json::from_str(&text(&answer)).unwrap();
        assert_eq!(
            (document["errorMessage"].as_str(), document["errorType"].as_str()),
            (Some("'lost'"), Some("KeyError"))
        );
        assert!(document["stackTrace"].is_array());
        real.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_runs_as_on_lambda() {
    let app = "exports.handler = async (event, context) => { console.log('hello from node'); \
               if (event.fail) throw new TypeError('no'); return { ...event, id: context.awsRequestId }; };";
    for real in Real::each(&[("index.js", app, 0o644)], 1).await {
        let runtime = real.worker.runtimes().into_iter().find(|runtime| runtime.to_string().starts_with("nodejs"));
        let runtime = runtime.expect("this host has no Node.js").to_string();
        real.worker.ready().await;
        real.init(1, spec(&runtime, "index.handler")).await;
        let answer = real.invoke(1, r#"{"a":1}"#).await;
        assert!(text(&answer).starts_with(r#"{"a":1,"id":"request-"#), "{}", text(&answer));
        assert!(tail(&answer).contains("hello from node\n"), "{}", tail(&answer));
        let answer = real.invoke(1, r#"{"fail":true}"#).await;
        assert_eq!((outcome(&answer), answer.slot), ("TypeError", SlotOutcome::Reusable));
        real.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiled_bootstrap_runs() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("bootstrap");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/worker/bootstrap.c");
    let built = Command::new("cc").args(["-D_GNU_SOURCE", "-O1", "-o"]).arg(&program).arg(source).status().unwrap();
    assert!(built.success());
    let program = std::fs::read(program).unwrap();
    for real in Real::each(&[("unused", "", 0o644)], 1).await {
        real.bundles.add(BundleDigest([8; 32]), &[("bootstrap", &program, 0o755)]);
        let mut function = spec("provided.al2023", "");
        function.bundle = BundleDigest([8; 32]);
        real.worker.ready().await;
        real.init(1, function).await;
        for payload in ["1", r#"{"b":2}"#] {
            assert_eq!(text(&real.invoke(1, payload).await), payload);
        }
        real.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_without_a_bootstrap_is_told() {
    for real in Real::each(&[("app.py", APP, 0o644)], 0).await {
        let made = real.worker.init_slot(init_slot(1, spec("provided", ""))).await;
        let Err(InitSlotError::InitFailed(failure)) = made else { panic!("{made:?}") };
        assert_eq!(failure.error_type, "Runtime.InvalidEntrypoint", "{}", failure.document);
        real.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_and_exits_end_only_their_sandbox() {
    for real in Real::each(&[("app.py", APP, 0o644)], 0).await {
        let mut short = python(&real);
        short.timeout = Timeout::new(1).unwrap();
        real.init(1, python(&real)).await;
        real.init(2, short).await;
        let answer = real.invoke(2, r#"{"do":"sleep"}"#).await;
        assert_eq!((outcome(&answer), answer.slot), ("Sandbox.Timedout", SlotOutcome::Gone));
        assert!(text(&answer).contains("Task timed out after 1.00 seconds"));
        for (slot, status, message) in
            [(3, 1, "Runtime exited with error: exit status 1"), (4, 0, "Runtime exited without providing a reason")]
        {
            real.init(slot, python(&real)).await;
            let answer = real.invoke(slot, &format!(r#"{{"do":"exit","status":{status}}}"#)).await;
            assert_eq!((outcome(&answer), answer.slot), ("Runtime.ExitError", SlotOutcome::Gone));
            assert!(text(&answer).contains(message), "{}", text(&answer));
        }
        assert_eq!(text(&real.invoke(1, r#"{"a": 1}"#).await), r#"{"a": 1}"#);
        real.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_end_only_their_sandbox() {
    for real in Real::each(&[("app.py", APP, 0o644)], 0).await {
        if real.isolation == Isolation::Process {
            eprintln!("NOT TESTED as a plain process: memory, processes and /tmp have no limits there");
            continue;
        }
        real.init(1, python(&real)).await;
        real.init(2, python(&real)).await;
        let answer = real.invoke(2, r#"{"do":"eat memory"}"#).await;
        assert_eq!((outcome(&answer), answer.slot), ("Runtime.OutOfMemory", SlotOutcome::Gone), "{}", text(&answer));
        assert!(tail(&answer).contains("Max Memory Used: 256 MB\tInit Duration: "), "{}", tail(&answer));

        let mut roomy = python(&real);
        roomy.memory = MemorySize::new(2_048).unwrap();
        roomy.ephemeral_storage = EphemeralStorage::new(600).unwrap();
        real.init(3, roomy).await;
        let answer = real.invoke(3, r#"{"do":"fill tmp"}"#).await;
        let seen: serde_json::Value = serde_json::from_str(&text(&answer)).unwrap();
        const ENOSPC: u64 = 28;
        assert_eq!(seen["errno"].as_u64(), Some(ENOSPC), "{seen}");
        assert!(seen["megabytes"].as_u64().is_some_and(|mb| (590..=600).contains(&mb)), "{seen}");

        let answer = real.invoke(3, r#"{"do":"fork bomb"}"#).await;
        let seen: serde_json::Value = serde_json::from_str(&text(&answer)).unwrap();
        const EAGAIN: u64 = 11;
        assert_eq!(seen["refused"].as_u64(), Some(EAGAIN), "{seen}");
        assert!(seen["children"].as_u64().is_some_and(|children| (900..1_024).contains(&children)), "{seen}");
        real.worker.reclaim(vec![(SlotId(3), TOKEN)]).await.unwrap();
        real.gone(3).await;
        assert_eq!(text(&real.invoke(1, r#"{"a": 1}"#).await), r#"{"a": 1}"#);
        real.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runaway_log_is_cut_with_a_note() {
    for real in Real::each(&[("app.py", APP, 0o644)], 0).await {
        let mut function = python(&real);
        function.memory = MemorySize::new(1_769).unwrap();
        real.init(1, function.clone()).await;
        let answer = real.invoke(1, r#"{"do":"log","kilobytes":20480}"#).await;
        assert_eq!((outcome(&answer), answer.slot), ("success", SlotOutcome::Reusable), "{}", text(&answer));
        let note = "4194304 bytes of log output were dropped: one invocation may write 16777216 bytes";
        assert!(tail(&answer).contains(note), "{}", tail(&answer));
        let answer = real.invoke(1, r#"{"do":"print"}"#).await;
        assert!(tail(&answer).contains("hello from python"), "{}", tail(&answer));
        let (account, name) = (function.function.account, function.function.name);
        let (mut after, mut found) = (0, false);
        while !found {
            let wait = Duration::from_secs(20);
            let all = LogQuery::all(account.clone(), LogGroup::of_function(&name), 10_000);
            let query = LogQuery { after, wait, ..all };
            let page = real.worker.read_log(query).await.unwrap();
            assert!(!page.lines.is_empty(), "the second call is not in the log");
            found = page.lines.iter().any(|line| line.text == "hello from python");
            after = page.next;
        }
        real.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_outlives_its_call_dies_with_its_sandbox() {
    for real in Real::each(&[("app.py", APP, 0o644)], 0).await {
        // A number of seconds that no other test sleeps for.
        let seconds = format!("7{}", std::process::id());
        real.init(1, python(&real)).await;
        let payload = format!(r#"{{"do":"leave a process","seconds":"{seconds}"}}"#);
        assert_eq!(outcome(&real.invoke(1, &payload).await), "success");
        assert_eq!(text(&real.invoke(1, "{}").await), "{}", "the call after it is not disturbed");
        assert_eq!(sleepers(&seconds), 1, "{}", real.isolation);
        real.worker.reclaim(vec![(SlotId(1), TOKEN)]).await.unwrap();
        real.gone(1).await;
        assert_eq!(sleepers(&seconds), 0, "{}", real.isolation);
        real.end().await;
    }
}

/// Processes of this host that sleep for so many seconds.
fn sleepers(seconds: &str) -> usize {
    let command = format!("sleep\0{seconds}\0").into_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|process| std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line == command)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_sandbox_is_frozen_for_real_and_goes_on() {
    for real in Real::each(&[("app.py", APP, 0o644)], 0).await {
        real.init(1, python(&real)).await;
        assert_eq!(text(&real.invoke(1, "{}").await), "{}");
        tokio::time::sleep(hearth_worker::config::FREEZE_IDLE_AFTER_DEFAULT + Duration::from_millis(300)).await;
        assert_eq!(text(&real.invoke(1, r#"{"a": 1}"#).await), r#"{"a": 1}"#);
        let fence = FenceRequest { slot: SlotId(1), token: FencingToken(11), holder: HolderId::new("wm-2").unwrap() };
        real.worker.fence(fence).await.unwrap();
        tokio::time::sleep(hearth_worker::config::FREEZE_IDLE_AFTER_DEFAULT + Duration::from_millis(300)).await;
        // A frozen sandbox can be destroyed.
        real.worker.reclaim(vec![(SlotId(1), FencingToken(11))]).await.unwrap();
        real.gone(1).await;
        real.end().await;
    }
}
