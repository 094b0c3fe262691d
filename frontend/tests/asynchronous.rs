//! The event dispatcher over a real queue on disk, in paused time, with scripted functions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_daemon::Tasks;
use hearth_domain::{AccountId, BundleDigest, EphemeralStorage, FunctionRef, MemorySize, RevisionId, Timeout, Version};
use hearth_frontend::asynchronous::channels::Channels;
use hearth_frontend::asynchronous::configuration::EventInvokeConfig;
use hearth_frontend::asynchronous::target::{ChannelKind, ChannelTarget, Home};
use hearth_frontend::asynchronous::{self, Config, Deps, EventInvoker, Outcome, RetryConfig, Run as Ran};
use hearth_store::catalog::{FunctionRecord, FunctionState, UpdateStatus};
use hearth_store::document::Expected;
use hearth_store::embedded::Database;
use hearth_store::event::{DeadLetter, Event, EventId, EventQueue, PushError, Settlement};
use hearth_store::message::Message;
use hearth_store::{Catalog, Collection, Documents, MessageStore, StoreFailure};
use prometheus::Registry;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// When the tests begin, Unix milliseconds.
const START_UNIX_MS: u64 = 1_700_000_000_000;
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function";

/// One run as the invoker saw it.
#[derive(Debug)]
struct Run {
    at: Duration,
    event: Event,
}

type Script = dyn Fn(&Event) -> Outcome + Send + Sync;

/// Says what the script says, after `gate` lets it, and reports each run.
struct Scripted {
    script: Box<Script>,
    gate: Semaphore,
    running: AtomicUsize,
    most_running: AtomicUsize,
    started: Instant,
    runs: mpsc::UnboundedSender<Run>,
}

#[async_trait]
impl EventInvoker for Scripted {
    async fn invoke_event(&self, event: &Event) -> Outcome {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        self.runs.send(Run { at: self.started.elapsed(), event: event.clone() }).unwrap();
        self.gate.acquire().await.unwrap().forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
        (self.script)(event)
    }
}

/// A dispatcher at work.
struct Bench {
    dir: Arc<tempfile::TempDir>,
    events: Arc<dyn EventQueue>,
    catalog: Arc<dyn Catalog>,
    documents: Arc<dyn Documents>,
    messages: Arc<dyn MessageStore>,
    invoker: Arc<Scripted>,
    runs: mpsc::UnboundedReceiver<Run>,
    tasks: Tasks,
}

/// More runs than any test makes.
const OPEN: usize = 10_000;

impl Bench {
    async fn start(config: Config, gate: usize, script: impl Fn(&Event) -> Outcome + Send + Sync + 'static) -> Self {
        Self::start_over(config, gate, script, |events| events).await
    }

    /// `wrap` goes around the queue as the dispatcher sees it.
    async fn start_over(
        config: Config,
        gate: usize,
        script: impl Fn(&Event) -> Outcome + Send + Sync + 'static,
        wrap: impl FnOnce(Arc<dyn EventQueue>) -> Arc<dyn EventQueue>,
    ) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let database = Database::open(dir.path()).await.unwrap();
        let (runs, seen) = mpsc::unbounded_channel();
        let started = Instant::now();
        let invoker = Arc::new(Scripted {
            script: Box::new(script),
            gate: Semaphore::new(gate),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            started,
            runs,
        });
        let (events, catalog, tasks) = (database.events(), database.catalog(), Tasks::new());
        let (documents, messages) = (database.documents(), database.messages());
        let deps = Deps {
            events: wrap(events.clone()),
            region: "us-east-1".into(),
            catalog: catalog.clone(),
            documents: documents.clone(),
            invoker: invoker.clone(),
            now_unix_ms: Arc::new(move || START_UNIX_MS + started.elapsed().as_millis() as u64),
        };
        asynchronous::start(config, deps, &tasks, &Registry::new()).unwrap();
        Self { dir, events, catalog, documents, messages, invoker, runs: seen, tasks }
    }

    /// Configures the events of `$LATEST` of function `f`.
    async fn configure(&self, config: EventInvokeConfig) {
        let path = EventInvokeConfig::path(&account(), &"f".parse().unwrap(), "$LATEST");
        Collection::new(self.documents.clone()).put(&path, &config, Expected::Anything).await.unwrap();
    }

    /// Creates a channel; returns its ARN.
    async fn channel(&self, kind: ChannelKind) -> String {
        let target = ChannelTarget::named(kind, "c", Home { account: &account(), region: "us-east-1" });
        Channels::new(self.documents.clone()).ensure(&account(), &target, BTreeMap::new(), 0).await.unwrap();
        target.arn
    }

    /// Drains, and returns what came to a channel.
    async fn finish_with(self, arn: &str) -> (usize, Vec<DeadLetter>, Vec<Message>) {
        let (messages, _dir) = (self.messages.clone(), self.dir.clone());
        let (depth, letters) = self.finish().await;
        let sent = messages.peek(arn, None, usize::MAX).await.unwrap();
        (depth, letters, sent.into_iter().map(|(_, message)| message).collect())
    }

    async fn run(&mut self) -> Run {
        self.runs.recv().await.unwrap()
    }

    /// Drains, and checks that nothing ran that was not expected.
    async fn finish(mut self) -> (usize, Vec<DeadLetter>) {
        assert!(self.tasks.stop(Duration::from_secs(3_600)).await, "did not drain");
        assert!(self.runs.try_recv().is_err(), "something else ran");
        let letters = self.events.dead_letters(&account(), None, 99).await.unwrap();
        (self.events.depth().await.unwrap(), letters.into_iter().map(|(_, letter)| letter).collect())
    }
}

fn account() -> AccountId {
    "000000000000".parse().unwrap()
}

fn event(request_id: &str) -> Event {
    Event {
        request_id: request_id.parse().unwrap(),
        account: account(),
        name: "f".parse().unwrap(),
        version: Version::Latest,
        alias: None,
        invoked_arn: format!("{ARN}:f"),
        payload: Bytes::from_static(b"{\"n\":1}"),
        accepted_unix_ms: START_UNIX_MS,
        due_unix_ms: START_UNIX_MS,
        failed_attempts: 0,
        deferrals: 0,
        forwards: 0,
    }
}

fn function(name: &str, dead_letter_target: Option<String>) -> FunctionRecord {
    FunctionRecord {
        function: FunctionRef {
            account: account(),
            name: name.parse().unwrap(),
            version: Version::Latest,
            revision: RevisionId::new("r").unwrap(),
        },
        region: "us-east-1".into(),
        runtime: "python3.11".parse().unwrap(),
        role: String::new(),
        handler: String::new(),
        description: String::new(),
        memory: MemorySize::new(128).unwrap(),
        timeout: Timeout::new(3).unwrap(),
        ephemeral_storage: EphemeralStorage::new(512).unwrap(),
        environment: None,
        bundle: BundleDigest([0; 32]),
        code_size: 0,
        unzipped_bytes: 0,
        last_modified_unix_ms: 0,
        dead_letter_target,
        tags: BTreeMap::new(),
        snap_start: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        state: FunctionState::Active,
        last_update: UpdateStatus::Successful,
        revision_id: None,
    }
}

fn failure() -> Outcome {
    let document = Bytes::from_static(br#"{"errorType":"Broken"}"#);
    Outcome::FunctionError(Ran { executed_version: Version::Latest, document })
}

fn succeeded() -> Outcome {
    Outcome::Succeeded(Ran { executed_version: Version::Latest, document: Bytes::from_static(b"\"done\"") })
}

fn no_retries() -> Config {
    Config { retry: RetryConfig { waits: Vec::new(), ..RetryConfig::default() }, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_succeeds_runs_once_and_is_gone() {
    let mut bench = Bench::start(Config::default(), OPEN, |_| succeeded()).await;
    bench.events.push(event("q")).await.unwrap();
    assert_eq!(bench.run().await.event, event("q"));
    assert_eq!(bench.finish().await, (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_failing_event_runs_three_times_and_becomes_a_dead_letter() {
    let mut bench = Bench::start(Config::default(), OPEN, |_| failure()).await;
    bench.events.push(event("q")).await.unwrap();
    for (attempt, at_s) in [(0, 0), (1, 60), (2, 180)] {
        let run = bench.run().await;
        assert_eq!((run.event.failed_attempts, run.at.as_secs()), (attempt, at_s));
        assert_eq!(run.event.payload, event("q").payload);
    }
    let (depth, letters) = bench.finish().await;
    assert_eq!(depth, 0);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.condition.as_str(), letter.event.failed_attempts), ("RetriesExhausted", 3));
    assert_eq!(letter.error.as_deref(), Some(r#"{"errorType":"Broken"}"#));
    assert_eq!(letter.event.payload, event("q").payload);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_event_backs_off_and_runs_when_there_is_room() {
    let defer_thrice = |event: &Event| match event.deferrals {
        0..3 => Outcome::Deferred { reason: "429".into() },
        _ => succeeded(),
    };
    let mut bench = Bench::start(Config::default(), OPEN, defer_thrice).await;
    bench.events.push(event("q")).await.unwrap();
    for at_s in [0, 1, 3, 7] {
        let run = bench.run().await;
        assert_eq!((run.at.as_secs(), run.event.failed_attempts), (at_s, 0));
    }
    assert_eq!(bench.finish().await, (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_never_gets_room_is_given_up_when_it_is_too_old() {
    let retry = RetryConfig { max_age: Duration::from_secs(10), ..RetryConfig::default() };
    let throttled = |_: &Event| Outcome::Deferred { reason: "429".into() };
    let mut bench = Bench::start(Config { retry, ..Config::default() }, OPEN, throttled).await;
    bench.events.push(event("q")).await.unwrap();
    for at_s in [0, 1, 3, 7, 10] {
        assert_eq!(bench.run().await.at.as_secs(), at_s);
    }
    let (depth, letters) = bench.finish().await;
    assert_eq!((depth, letters[0].condition.as_str(), &letters[0].error), (0, "EventAgeExceeded", &None));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_old_already_does_not_run() {
    let mut bench = Bench::start(Config::default(), OPEN, |_| succeeded()).await;
    let old = Event { accepted_unix_ms: START_UNIX_MS - 7 * 3_600_000, ..event("old") };
    bench.events.push(old).await.unwrap();
    bench.events.push(Event { due_unix_ms: START_UNIX_MS + 1, ..event("young") }).await.unwrap();
    assert_eq!(bench.run().await.event.request_id.as_str(), "young");
    let (depth, letters) = bench.finish().await;
    assert_eq!((depth, letters.len(), letters[0].condition.as_str()), (0, 1, "EventAgeExceeded"));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_deleted_function_becomes_a_dead_letter() {
    let mut bench = Bench::start(Config::default(), OPEN, |_| Outcome::NoFunction).await;
    bench.events.push(event("q")).await.unwrap();
    bench.run().await;
    assert_eq!(bench.finish().await.1[0].condition, "FunctionNotFound");
}

#[tokio::test(start_paused = true)]
async fn a_failure_goes_to_the_on_failure_function() {
    let script = |event: &Event| if event.name.as_str() == "f" { failure() } else { succeeded() };
    let mut bench = Bench::start(no_retries(), OPEN, script).await;
    bench.catalog.create(function("f", Some(format!("{ARN}:g")))).await.unwrap();
    bench.catalog.create(function("g", None)).await.unwrap();
    bench.events.push(event("q")).await.unwrap();
    bench.run().await;
    let run = bench.run().await;
    assert_eq!((run.event.name.as_str(), run.event.invoked_arn), ("g", format!("{ARN}:g")));
    let record: serde_json::Value = serde_json::from_slice(&run.event.payload).unwrap();
    assert_eq!(record["requestContext"]["requestId"], "q");
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["requestPayload"], serde_json::json!({"n": 1}));
    assert_eq!(record["responsePayload"]["errorType"], "Broken");
    assert_eq!(bench.finish().await, (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_can_not_take_it_leaves_a_dead_letter() {
    for target in ["arn:aws:sqs:us-east-1:000000000000:no-such-queue".to_owned(), format!("{ARN}:gone")] {
        let mut bench = Bench::start(no_retries(), OPEN, |_| failure()).await;
        bench.catalog.create(function("f", Some(target))).await.unwrap();
        bench.events.push(event("q")).await.unwrap();
        bench.run().await;
        let (depth, letters) = bench.finish().await;
        assert_eq!((depth, letters.len(), letters[0].event.request_id.as_str()), (0, 1, "q"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_goes_to_its_destination_and_a_failure_to_another() {
    let script = |event: &Event| if event.request_id.as_str() == "good" { succeeded() } else { failure() };
    let mut bench = Bench::start(no_retries(), OPEN, script).await;
    let (queue, bus) = (bench.channel(ChannelKind::Queue).await, bench.channel(ChannelKind::Bus).await);
    let (on_success, on_failure) = (Some(queue.clone()), Some(bus.clone()));
    bench.configure(EventInvokeConfig { on_success, on_failure, ..EventInvokeConfig::default() }).await;
    for name in ["good", "bad"] {
        bench.events.push(event(name)).await.unwrap();
        bench.run().await;
    }
    let (messages, _dir) = (bench.messages.clone(), bench.dir.clone());
    let (depth, letters, sent) = bench.finish_with(&queue).await;
    assert_eq!((depth, letters, sent.len()), (0, Vec::new(), 1));
    let record: serde_json::Value = serde_json::from_slice(&sent[0].body).unwrap();
    assert_eq!((&record["requestContext"]["requestId"], &record["responsePayload"]), (&"good".into(), &"done".into()));
    let on_bus = messages.peek(&bus, None, 9).await.unwrap();
    let event: serde_json::Value = serde_json::from_slice(&on_bus[0].1.body).unwrap();
    assert_eq!(event["detail"]["requestContext"]["requestId"], "bad");
    assert_eq!((on_bus.len(), event["id"].as_str()), (1, Some(on_bus[0].1.id.as_str())));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_queue_gets_the_event_itself() {
    let mut bench = Bench::start(no_retries(), OPEN, |_| failure()).await;
    let queue = bench.channel(ChannelKind::Queue).await;
    bench.catalog.create(function("f", Some(queue.clone()))).await.unwrap();
    bench.events.push(event("q")).await.unwrap();
    bench.run().await;
    let (depth, letters, sent) = bench.finish_with(&queue).await;
    assert_eq!((depth, letters, sent.len()), (0, Vec::new(), 1));
    assert_eq!(sent[0].body, event("q").payload);
    let said: Vec<_> = sent[0].attributes.iter().map(|(name, value)| (name.as_str(), value.value.as_str())).collect();
    assert_eq!(said, [("ErrorCode", "200"), ("ErrorMessage", "RetriesExhausted"), ("RequestID", "q")]);
}

#[tokio::test(start_paused = true)]
async fn a_function_has_the_retries_and_the_age_it_asks_for() {
    for (max_retries, max_age_s, attempts, condition) in [
        (Some(0), None, 1, "RetriesExhausted"),
        (Some(1), None, 2, "RetriesExhausted"),
        // Recorded at AWS (tests/aws-facts/destinations.json): retries that would come too late are not made.
        (None, Some(60), 1, "EventAgeExceeded"),
        (None, Some(90), 2, "EventAgeExceeded"),
    ] {
        let mut bench = Bench::start(Config::default(), OPEN, |_| failure()).await;
        bench.configure(EventInvokeConfig { max_retries, max_age_s, ..EventInvokeConfig::default() }).await;
        bench.events.push(event("q")).await.unwrap();
        for _ in 0..attempts {
            bench.run().await;
        }
        let (depth, letters) = bench.finish().await;
        assert_eq!((depth, letters[0].condition.as_str()), (0, condition));
        assert_eq!(letters[0].event.failed_attempts, attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn without_concurrency_it_is_given_up_at_once() {
    let mut bench = Bench::start(Config::default(), OPEN, |_| Outcome::NoConcurrency).await;
    let queue = bench.channel(ChannelKind::Queue).await;
    bench.configure(EventInvokeConfig { on_failure: Some(queue.clone()), ..EventInvokeConfig::default() }).await;
    bench.events.push(event("q")).await.unwrap();
    bench.run().await;
    let (depth, letters, sent) = bench.finish_with(&queue).await;
    assert_eq!((depth, letters), (0, Vec::new()));
    let record: serde_json::Value = serde_json::from_slice(&sent[0].body).unwrap();
    assert_eq!(record["requestContext"]["condition"], "ZeroReservedConcurrency");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_failures_ends() {
    let mut bench = Bench::start(no_retries(), OPEN, |_| failure()).await;
    bench.catalog.create(function("f", Some(format!("{ARN}:f")))).await.unwrap();
    bench.events.push(event("q")).await.unwrap();
    for forwards in 0..16 {
        assert_eq!(bench.run().await.event.forwards, forwards);
    }
    // The next one does not run, so nothing tells of it.
    while bench.events.dead_letters(&account(), None, 1).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (depth, letters) = bench.finish().await;
    assert_eq!((depth, letters.len(), letters[0].event.forwards), (0, 1, 16));
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_a_time_than_may_and_all_run() {
    let config = Config { max_running: 3, ..Config::default() };
    let mut bench = Bench::start(config, 0, |_| succeeded()).await;
    let mut names = BTreeSet::new();
    for index in 0..20 {
        bench.events.push(event(&format!("q{index}"))).await.unwrap();
    }
    for _ in 0..20 {
        names.insert(bench.run().await.event.request_id);
        bench.invoker.gate.add_permits(1);
    }
    assert_eq!((names.len(), bench.invoker.most_running.load(Ordering::SeqCst)), (20, 3));
    assert_eq!(bench.finish().await, (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_running_events_finish_and_keeps_the_others() {
    let config = Config { max_running: 1, ..Config::default() };
    let mut bench = Bench::start(config, 0, |_| succeeded()).await;
    bench.events.push(event("running")).await.unwrap();
    assert_eq!(bench.run().await.event.request_id.as_str(), "running");
    bench.events.push(event("queued")).await.unwrap();
    let invoker = bench.invoker.clone();
    let (finished, ()) = tokio::join!(bench.finish(), async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        invoker.gate.add_permits(1);
    });
    assert_eq!(finished, (1, Vec::new()), "the queued one is not there any more");
}

#[tokio::test(start_paused = true)]
async fn an_event_cut_off_in_the_middle_runs_again_after_a_restart() {
    let mut bench = Bench::start(Config::default(), 0, |_| succeeded()).await;
    bench.events.push(event("q")).await.unwrap();
    bench.run().await;
    assert!(!bench.tasks.stop(Duration::from_secs(30)).await, "it can't have finished");
    // The process ends here; what it leaves is its directory.
    let copy = tempfile::tempdir().unwrap();
    copy_tree(bench.dir.path(), copy.path());
    let database = Database::open(copy.path()).await.unwrap();
    let offered = database.events().take_due(START_UNIX_MS, 9).await.unwrap();
    assert_eq!(offered.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), [event("q")]);
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A queue whose first few settlements fail, and which may have no room for what others leave behind.
struct Flaky {
    events: Arc<dyn EventQueue>,
    failures: AtomicUsize,
    is_full: bool,
}

#[async_trait]
impl EventQueue for Flaky {
    async fn push(&self, event: Event) -> Result<EventId, PushError> {
        self.events.push(event).await
    }

    async fn take_due(&self, now_unix_ms: u64, limit: usize) -> Result<Vec<(EventId, Event)>, StoreFailure> {
        self.events.take_due(now_unix_ms, limit).await
    }

    async fn next_due(&self) -> Result<Option<u64>, StoreFailure> {
        self.events.next_due().await
    }

    async fn changed(&self) {
        self.events.changed().await;
    }

    async fn reschedule(&self, id: EventId, event: Event) -> Result<(), StoreFailure> {
        self.events.reschedule(id, event).await
    }

    async fn settle(&self, id: EventId, leaves: Settlement) -> Result<(), PushError> {
        if self.is_full && !leaves.events.is_empty() {
            return Err(PushError::Full { events: 1, payload_bytes: 1 });
        }
        let left = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(StoreFailure::new("settle", "disk full").into()),
            Err(_) => self.events.settle(id, leaves).await,
        }
    }

    async fn depth(&self) -> Result<usize, StoreFailure> {
        self.events.depth().await
    }

    async fn dead_letters(
        &self,
        account: &AccountId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, DeadLetter)>, StoreFailure> {
        self.events.dead_letters(account, after, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_fails_is_tried_again_and_nothing_runs_twice() {
    let config = Config { max_running: 1, ..Config::default() };
    let flaky =
        |events| Arc::new(Flaky { events, failures: AtomicUsize::new(3), is_full: false }) as Arc<dyn EventQueue>;
    let mut bench = Bench::start_over(config, OPEN, |_| succeeded(), flaky).await;
    bench.events.push(event("first")).await.unwrap();
    bench.run().await;
    bench.events.push(event("second")).await.unwrap();
    // Pauses of 1, 2 and 4 seconds while the first holds the only place.
    let second = bench.run().await;
    assert_eq!((second.event.request_id.as_str(), second.at.as_secs()), ("second", 7));
    assert_eq!(bench.finish().await, (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_record_without_room_in_the_queue_keeps_a_failed_event_as_a_dead_letter() {
    let script = |event: &Event| if event.request_id.as_str() == "good" { succeeded() } else { failure() };
    let full = |events| Arc::new(Flaky { events, failures: AtomicUsize::new(0), is_full: true }) as Arc<dyn EventQueue>;
    let mut bench = Bench::start_over(no_retries(), OPEN, script, full).await;
    bench.catalog.create(function("g", None)).await.unwrap();
    let to_g = Some(format!("{ARN}:g"));
    let config = EventInvokeConfig { on_success: to_g.clone(), on_failure: to_g, ..EventInvokeConfig::default() };
    bench.configure(config).await;
    for name in ["good", "bad"] {
        bench.events.push(event(name)).await.unwrap();
        bench.run().await;
    }
    let (depth, letters) = bench.finish().await;
    assert_eq!((depth, letters.len(), letters[0].event.request_id.as_str()), (0, 1, "bad"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_has_both_its_destination_and_its_dead_letter_queue() {
    let mut bench = Bench::start(no_retries(), OPEN, |_| failure()).await;
    let (queue, topic) = (bench.channel(ChannelKind::Queue).await, bench.channel(ChannelKind::Topic).await);
    bench.catalog.create(function("f", Some(queue.clone()))).await.unwrap();
    bench.configure(EventInvokeConfig { on_failure: Some(topic.clone()), ..EventInvokeConfig::default() }).await;
    // Too large for a topic: the record leaves the payload out, and the queue has it.
    let payload = Bytes::from(format!("{:?}", "x".repeat(300_000)));
    bench.events.push(Event { payload: payload.clone(), ..event("q") }).await.unwrap();
    bench.run().await;
    let (messages, _dir) = (bench.messages.clone(), bench.dir.clone());
    let (depth, letters, sent) = bench.finish_with(&queue).await;
    assert_eq!((depth, letters, sent.len()), (0, Vec::new(), 1));
    assert_eq!(sent[0].body, payload);
    let on_topic = messages.peek(&topic, None, 9).await.unwrap();
    let record: serde_json::Value = serde_json::from_slice(&on_topic[0].1.body).unwrap();
    assert!(record.get("requestPayload").is_none() && record["responsePayload"]["errorType"] == "Broken");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_no_target_has_whole_is_kept() {
    let mut bench = Bench::start(no_retries(), OPEN, |_| failure()).await;
    let topic = bench.channel(ChannelKind::Topic).await;
    bench.configure(EventInvokeConfig { on_failure: Some(topic.clone()), ..EventInvokeConfig::default() }).await;
    let payload = Bytes::from(format!("{:?}", "x".repeat(300_000)));
    bench.events.push(Event { payload: payload.clone(), ..event("q") }).await.unwrap();
    bench.run().await;
    let (depth, letters, sent) = bench.finish_with(&topic).await;
    assert_eq!((depth, letters.len(), sent.len()), (0, 1, 1));
    assert_eq!(letters[0].event.payload, payload);
}
