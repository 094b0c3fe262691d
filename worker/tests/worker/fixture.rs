//! A worker on a fake launcher, and short words for what tests ask of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FencingToken, FunctionName, FunctionRef, FunctionResponse, FunctionSpec,
    HolderId, LogGroup, MemorySize, RequestId, RevisionId, SlotId, Timeout, Version, WorkerId,
};
use hearth_guest_protocol::{
    GuestError, Init, InitDone as GuestInitDone, Invoke, Log, PROTOCOL_VERSION, RESTORE_ENTROPY_BYTES, Ready, Response,
    Restored, RuntimeExit, SnapshotReady, host_message, response,
};
use hearth_microvm::{Ended, Isolation, Launcher};
use hearth_protocol::placement::WorkerReport;
use hearth_protocol::worker::{
    InitDone, InitSlot, InitSlotError, InvokeError, InvokeRequest, InvokeResponse, LogQuery,
};
use hearth_protocol::{Worker as _, WorkerEndpoint};
use hearth_worker::{Config, Deps, Worker};

use crate::fake::{EXIT_0, FakeLauncher, Guest, Script};
use crate::neighbours::{Bundles, FakeMemory, FakePlacement};

/// A worker and what surrounds it.
pub(crate) struct Fixture {
    pub(crate) worker: Arc<Worker>,
    pub(crate) launcher: Arc<FakeLauncher>,
    pub(crate) placement: Arc<FakePlacement>,
    pub(crate) bundles: Arc<Bundles>,
    pub(crate) dir: tempfile::TempDir,
}

static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// The token every test slot begins with.
pub(crate) const TOKEN: FencingToken = FencingToken(10);

impl Fixture {
    /// A worker whose sandboxes follow `script`, without a pool.
    pub(crate) async fn new(script: Script) -> Self {
        Self::with(script, |config| config.pool_size = 0).await
    }

    /// A worker that is configured further.
    pub(crate) async fn with(script: Script, configure: impl FnOnce(&mut Config)) -> Self {
        Self::on(FakeLauncher::new(Isolation::Jail, script), configure).await
    }

    /// A worker whose sandboxes are microVMs.
    pub(crate) async fn kvm(script: Script, configure: impl FnOnce(&mut Config)) -> Self {
        Self::on(FakeLauncher::new(Isolation::Kvm, script), configure).await
    }

    async fn on(launcher: Arc<FakeLauncher>, configure: impl FnOnce(&mut Config)) -> Self {
        let bundles = Bundles::new();
        bundles.add(function("").bundle, &[("bootstrap", "", 0o755)]);
        let dir = tempfile::tempdir().unwrap();
        Self::in_dir(launcher, bundles, dir, configure).await
    }

    async fn in_dir(
        launcher: Arc<FakeLauncher>,
        bundles: Arc<Bundles>,
        dir: tempfile::TempDir,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let shim = std::env::current_exe().unwrap();
        let (worker, placement) = start_in(dir.path(), launcher.clone(), bundles.clone(), shim, configure).await;
        Self { worker, launcher, placement, bundles, dir }
    }

    /// The worker ends, and another starts on what it left.
    pub(crate) async fn restarted(self, configure: impl FnOnce(&mut Config)) -> Self {
        self.worker.shutdown(Duration::from_secs(5)).await;
        Self::in_dir(self.launcher, self.bundles, self.dir, configure).await
    }

    /// Makes a slot for a function whose handler is `handler`.
    pub(crate) async fn init(&self, slot: u64, handler: &str) -> Result<InitDone, InitSlotError> {
        self.worker.init_slot(init_slot(slot, function(handler))).await
    }

    /// Invokes a slot with its first token.
    pub(crate) async fn invoke(&self, slot: u64, payload: &str) -> Result<InvokeResponse, InvokeError> {
        self.worker.invoke(invocation(slot, payload)).await
    }

    /// Makes a slot and invokes it.
    pub(crate) async fn call(&self, slot: u64, handler: &str) -> InvokeResponse {
        self.init(slot, handler).await.unwrap();
        self.invoke(slot, "{}").await.unwrap()
    }

    /// All lines of the function's log, once `until` is among them.
    pub(crate) async fn log_until(&self, until: &str) -> Vec<String> {
        let FunctionRef { account, name, .. } = function("").function;
        let (mut after, mut lines) = (0, Vec::new());
        while !lines.iter().any(|line: &String| line.contains(until)) {
            let all = LogQuery::all(account.clone(), LogGroup::of_function(&name), 1_000);
            let query = LogQuery { after, wait: Duration::from_secs(20), ..all };
            let page = self.worker.read_log(query).await.unwrap();
            assert!(!page.lines.is_empty(), "no {until:?} in {lines:#?}");
            after = page.next;
            lines.extend(page.lines.into_iter().map(|line| line.text));
        }
        lines
    }

    /// The first report that satisfies `wanted`.
    pub(crate) async fn report(&self, wanted: impl FnMut(&WorkerReport) -> bool) -> WorkerReport {
        let mut wanted = wanted;
        let mut reports = self.placement.reports.subscribe();
        let matching = reports.wait_for(|report| report.as_ref().is_some_and(&mut wanted));
        let report = tokio::time::timeout(Duration::from_secs(20), matching).await.expect("no such report came");
        report.unwrap().clone().unwrap()
    }

    /// Resolves when no slot is left.
    pub(crate) async fn no_slots(&self) {
        self.report(|report| report.slots.is_empty()).await;
    }
}

pub(crate) fn function(handler: &str) -> FunctionSpec {
    FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").unwrap(),
            name: FunctionName::new("hello").unwrap(),
            version: Version::Latest,
            revision: RevisionId::new("rev-1").unwrap(),
        },
        region: "us-east-1".into(),
        runtime: "provided.al2023".parse().unwrap(),
        handler: handler.into(),
        memory: MemorySize::new(256).unwrap(),
        timeout: Timeout::new(3).unwrap(),
        ephemeral_storage: EphemeralStorage::new(512).unwrap(),
        environment: Default::default(),
        bundle: BundleDigest([7; 32]),
        isolation: None,
        snap_start: false,
        provisioned: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        credentials: None,
    }
}

pub(crate) fn init_slot(slot: u64, function: FunctionSpec) -> InitSlot {
    let holder = HolderId::new("wm-1").unwrap();
    InitSlot { slot: SlotId(slot), token: TOKEN, holder, function: Arc::new(function) }
}

pub(crate) fn invocation(slot: u64, payload: &str) -> InvokeRequest {
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    InvokeRequest {
        request_id: RequestId::new(&format!("request-{number}")).unwrap(),
        slot: SlotId(slot),
        token: TOKEN,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:hello".into(),
        client_context: None,
        trace_id: None,
        log_tail: true,
    }
}

/// The error type of an answer, or `success`.
pub(crate) fn outcome(answer: &InvokeResponse) -> &str {
    match &answer.response {
        FunctionResponse::Success(_) => "success",
        FunctionResponse::Error(error) => &error.error_type,
    }
}

/// The answer as text.
pub(crate) fn text(answer: &InvokeResponse) -> String {
    let bytes = match &answer.response {
        FunctionResponse::Success(bytes) => bytes,
        FunctionResponse::Error(error) => &error.document,
    };
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A script from an async function.
pub(crate) fn script<F: Future<Output = Ended> + Send + 'static>(
    play: impl Fn(Guest) -> F + Send + Sync + 'static,
) -> Script {
    Arc::new(move |guest| Box::pin(play(guest)))
}

/// A shim as it should be. Its function does what its handler is called; see [`serve`].
pub(crate) fn honest() -> Script {
    script(|mut guest| async move {
        let remembered = guest.memory();
        if !remembered.is_empty() {
            become_another(&mut guest, &remembered).await;
            return serving(guest, &remembered).await;
        }
        match until_init(&mut guest).await {
            Some(init) => {
                let kind = init.environment.iter().find(|variable| variable.name == "AWS_LAMBDA_INITIALIZATION_TYPE");
                assert_eq!(kind.unwrap().value, if init.snap_start { "snap-start" } else { "on-demand" });
                live(guest, &init.handler).await
            }
            None => EXIT_0,
        }
    })
}

/// What a restored shim does first, its function's handler being called so, or not known yet.
async fn become_another(guest: &mut Guest, handler: &str) -> Option<()> {
    let host_message::Kind::Restore(restore) = guest.hear().await? else { return None };
    assert_eq!(restore.entropy.len(), RESTORE_ENTROPY_BYTES);
    assert!(restore.unix_ns > 1_700_000_000_000_000_000);
    let stream = restore.environment.iter().map(|variable| variable.value.as_str()).collect::<String>();
    guest.identity = format!("{:?} {} {stream}", restore.entropy, restore.host_name);
    if handler == "prints-when-restored" {
        guest.say(log("", "hello again\n")).await;
    }
    let error = GuestError { error_type: "Hook.Error".into(), document: "{}".into() };
    guest.say(Restored { duration_us: 1, error: (handler == "restore-fails").then_some(error) }).await;
    Some(())
}

/// The honest shim's life until Init: up, or restored, and snapshotted if the worker wants that.
pub(crate) async fn until_init(guest: &mut Guest) -> Option<Init> {
    if guest.restored {
        become_another(guest, "").await?;
    } else {
        ready(guest).await;
    }
    loop {
        match guest.hear().await? {
            host_message::Kind::Init(init) => return Some(init),
            host_message::Kind::PrepareSnapshot(_) => guest.say(SnapshotReady::default()).await,
            _ => return None,
        }
    }
}

/// The honest shim's life from Init on.
pub(crate) async fn live(mut guest: Guest, handler: &str) -> Ended {
    match handler {
        "init-hangs" => std::future::pending().await,
        "init-exits" => {
            guest.say(log("", "about to fail\n")).await;
            guest.say(RuntimeExit { status: Some(1), ..RuntimeExit::default() }).await;
            std::future::pending().await
        }
        "init-fails" => {
            let error = GuestError { error_type: "Runtime.ImportModuleError".into(), document: "{}".into() };
            guest.say(GuestInitDone { duration_us: 5, error: Some(error) }).await;
            std::future::pending().await
        }
        _ => guest.say(GuestInitDone { duration_us: 5, error: None }).await,
    }
    serving(guest, handler).await
}

/// The honest shim's life after init.
async fn serving(mut guest: Guest, handler: &str) -> Ended {
    loop {
        match guest.hear().await {
            Some(host_message::Kind::Invoke(invoke)) => {
                if let Some(ended) = serve(&mut guest, handler, invoke).await {
                    return ended;
                }
            }
            Some(host_message::Kind::PrepareSnapshot(_)) => {
                guest.remember(handler);
                let error = GuestError { error_type: "Hook.Error".into(), document: "{}".into() };
                guest.say(SnapshotReady { error: (handler == "rest-fails").then_some(error) }).await;
            }
            _ => return EXIT_0,
        }
    }
}

async fn serve(guest: &mut Guest, handler: &str, invoke: Invoke) -> Option<Ended> {
    let id = invoke.request_id.clone();
    match handler {
        "echo" | "restore-fails" => guest.say(answer(&id, response::Outcome::Payload(invoke.payload))).await,
        "identity" | "prints-when-restored" => {
            let identity = guest.identity.clone().into();
            guest.say(answer(&id, response::Outcome::Payload(identity))).await;
        }
        "hang" => std::future::pending().await,
        "prints" => {
            guest.say(log(&id, "first line\nsecond ")).await;
            guest.say(log(&id, "line\nno line feed")).await;
            guest.say(answer(&id, response::Outcome::Payload("null".into()))).await;
        }
        "raises" => {
            let error = GuestError { error_type: "KeyError".into(), document: r#"{"errorType":"KeyError"}"#.into() };
            guest.say(answer(&id, response::Outcome::Error(error))).await;
        }
        "too-large" => guest.say(answer(&id, response::Outcome::TooLarge(9_000_000))).await,
        "exits-0" | "exits-1" => {
            let status = Some(i32::from(handler == "exits-1"));
            guest.say(RuntimeExit { request_id: id, status, signal: None }).await;
            std::future::pending().await
        }
        "out-of-memory" => {
            guest.use_memory(256 << 20, 1);
            guest.say(RuntimeExit { request_id: id, status: None, signal: Some(9) }).await;
            std::future::pending().await
        }
        "sandbox-out-of-memory" => return Some(Ended { status: None, signal: Some(9), out_of_memory: true }),
        other => panic!("no such handler: {other}"),
    }
    None
}

pub(crate) async fn ready(guest: &mut Guest) {
    guest.say(Ready { protocol_version: PROTOCOL_VERSION, runtime_started: false, ..Ready::default() }).await;
}

pub(crate) fn log(request_id: &str, text: &'static str) -> Log {
    Log { request_id: request_id.into(), data: text.into(), dropped_bytes: 0 }
}

pub(crate) fn answer(request_id: &str, outcome: response::Outcome) -> Response {
    Response { request_id: request_id.into(), outcome: Some(outcome) }
}

/// Starts a worker of 1 GB in a directory of its own.
pub(crate) async fn start(
    launcher: Arc<dyn Launcher>,
    bundles: Arc<Bundles>,
    shim: PathBuf,
    configure: impl FnOnce(&mut Config),
) -> (Arc<Worker>, Arc<FakePlacement>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (worker, placement) = start_in(dir.path(), launcher, bundles, shim, configure).await;
    (worker, placement, dir)
}

async fn start_in(
    dir: &Path,
    launcher: Arc<dyn Launcher>,
    bundles: Arc<Bundles>,
    shim: PathBuf,
    configure: impl FnOnce(&mut Config),
) -> (Arc<Worker>, Arc<FakePlacement>) {
    let endpoint = WorkerEndpoint { id: WorkerId::new("worker-1").unwrap(), url: "".into() };
    let mut config = Config::new(endpoint, dir.to_owned(), shim);
    (config.memory_mb, config.memory_overcommit_percent) = (Some(1_024), 100);
    configure(&mut config);
    let placement = Arc::new(FakePlacement::default());
    let memory = FakeMemory(placement.memory.subscribe());
    let deps = Deps { launcher, bundles, placement: placement.clone(), memory: Box::new(memory) };
    let worker = Worker::start(config, deps, &prometheus::Registry::new()).await.unwrap();
    (worker, placement)
}
