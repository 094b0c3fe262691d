//! The embedded queue of events: against a model, over restarts and crashes.

#[path = "support/records.rs"]
#[expect(dead_code, reason = "shared with the tests of the catalog")]
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::Duration;

use hearth_store::embedded::{Database, QueueLimits};
use hearth_store::event::{DeadLetter, Event, EventId, PushError, Settlement};
use hearth_store::message::Message;
use hearth_store::{EventQueue, MessageStore};
use proptest::prelude::*;
use records::{account, event};

#[derive(Debug, Clone)]
enum Step {
    Push { due: u64, payload: usize },
    Take { now: u64, limit: usize },
    Reschedule { which: usize, due: u64 },
    Settle { which: usize, dead: bool, event: Option<usize>, message: Option<usize> },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..20_u64, size()).prop_map(|(due, payload)| Step::Push { due, payload }),
        3 => (0..20_u64, 0..3_usize).prop_map(|(now, limit)| Step::Take { now, limit }),
        2 => (any::<usize>(), 0..20_u64).prop_map(|(which, due)| Step::Reschedule { which, due }),
        3 => (any::<usize>(), any::<bool>(), proptest::option::of(size()), proptest::option::of(size()))
            .prop_map(|(which, dead, event, message)| Step::Settle { which, dead, event, message }),
        1 => Just(Step::Reopen),
    ]
}

/// Of a payload, bytes.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(10), Just(4096), Just(4097), Just(200_000)]
}

const MAX_EVENTS: usize = 6;
const MAX_MESSAGES: usize = 3;
const CHANNEL: &str = "arn:aws:sqs:us-east-1:000000000000:q";
const MAX_LETTERS: usize = 3;
const MAX_TAKEN: usize = 2;
const LIMITS: QueueLimits = QueueLimits {
    max_events: MAX_EVENTS,
    max_payload_bytes: 500_000,
    max_taken_per_function: MAX_TAKEN,
    max_dead_letters: MAX_LETTERS,
    max_messages: MAX_MESSAGES,
};

/// What the queue should hold.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<(u64, EventId), Event>,
    taken: BTreeMap<EventId, Event>,
    letters: Vec<DeadLetter>,
    messages: Vec<Message>,
    pushed: u64,
}

impl Model {
    async fn apply(&mut self, queue: &dyn EventQueue, step: &Step) {
        match *step {
            Step::Push { due, payload } => self.push(queue, due, payload).await,
            Step::Take { now, limit } => {
                let taken = queue.take_due(now, limit).await.unwrap();
                let mut expected = Vec::new();
                while expected.len() < limit
                    && let Some(key) = self.next().filter(|key| key.0 <= now)
                {
                    let event = self.waiting.remove(&key).unwrap();
                    self.taken.insert(key.1, event.clone());
                    expected.push((key.1, event));
                }
                assert_eq!(taken, expected);
            }
            Step::Reschedule { which, due } => {
                let Some((id, mut event)) = self.one_taken(which) else { return };
                event.due_unix_ms = due;
                event.deferrals += 1;
                queue.reschedule(id, event.clone()).await.unwrap();
                queue.changed().await;
                self.waiting.insert((due, id), event);
            }
            Step::Settle { which, dead, event, message } => self.settle(queue, which, dead, event, message).await,
            Step::Reopen => {
                let taken = std::mem::take(&mut self.taken);
                self.waiting.extend(taken.into_iter().map(|(id, event)| ((event.due_unix_ms, id), event)));
            }
        }
    }

    async fn settle(
        &mut self,
        queue: &dyn EventQueue,
        which: usize,
        dead: bool,
        new: Option<usize>,
        message: Option<usize>,
    ) {
        let Some((id, event)) = self.one_taken(which) else { return };
        self.pushed += 1;
        let condition = "RetriesExhausted".to_owned();
        let letter = DeadLetter { event: event.clone(), condition, error: Some("{}".into()), unix_ms: 5 };
        let mut follower = new.map(|bytes| records::event(&format!("q{}", self.pushed), 0, &vec![1; bytes]));
        if let Some(follower) = &mut follower {
            follower.name = format!("n{}", self.pushed).parse().unwrap();
        }
        let sent = message.map(|bytes| records::message(CHANNEL, &self.pushed.to_string(), &vec![2; bytes]));
        let leaves = Settlement {
            dead_letter: dead.then(|| letter.clone()),
            events: follower.iter().cloned().collect(),
            messages: sent.iter().cloned().collect(),
        };
        let before: usize = self.waiting.values().chain(self.taken.values()).map(|event| event.payload.len()).sum();
        match queue.settle(id, leaves).await {
            Ok(()) => queue.changed().await,
            Err(PushError::Full { .. }) => {
                let new = new.expect("only an event needs room");
                assert!(new > event.payload.len() && before + new > LIMITS.max_payload_bytes as usize);
                self.taken.insert(id, event);
                return;
            }
            Err(other) => panic!("{other}"),
        }
        if dead {
            self.letters.push(letter);
            let surplus = self.letters.len().saturating_sub(MAX_LETTERS);
            self.letters.drain(..surplus);
        }
        self.messages.extend(sent);
        let surplus = self.messages.len().saturating_sub(MAX_MESSAGES);
        self.messages.drain(..surplus);
        if follower.is_some() {
            // The queue gave it an id of its own, which taking it tells.
            for (id, event) in queue.take_due(0, usize::MAX).await.unwrap() {
                let waited = self.waiting.remove(&(event.due_unix_ms, id));
                assert_eq!(waited.as_ref().or(follower.as_ref()), Some(&event));
                self.taken.insert(id, event);
            }
        }
        assert!(queue.settle(id, Settlement::default()).await.is_err(), "settled twice");
    }

    async fn push(&mut self, queue: &dyn EventQueue, due: u64, payload: usize) {
        self.pushed += 1;
        let mut event = event(&format!("q{}", self.pushed), due, &vec![self.pushed as u8; payload]);
        event.name = if self.pushed.is_multiple_of(3) { "rare" } else { "busy" }.parse().unwrap();
        let stored = || self.waiting.values().chain(self.taken.values());
        let bytes: usize = stored().map(|event| event.payload.len()).sum();
        let full = stored().count() >= MAX_EVENTS || bytes + payload > LIMITS.max_payload_bytes as usize;
        match queue.push(event.clone()).await {
            Ok(id) => {
                assert!(!full);
                queue.changed().await;
                self.waiting.insert((due, id), event);
            }
            Err(PushError::Full { events, payload_bytes }) => {
                assert!(full);
                assert_eq!((events, payload_bytes), (stored().count(), bytes as u64));
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// The earliest event of a function of which not too many are taken.
    fn next(&self) -> Option<(u64, EventId)> {
        let taken = |name| self.taken.values().filter(|event| event.name == name).count();
        let next = self.waiting.iter().find(|(_, event)| taken(event.name.clone()) < MAX_TAKEN);
        next.map(|(key, _)| *key)
    }

    fn one_taken(&mut self, which: usize) -> Option<(EventId, Event)> {
        let id = *self.taken.keys().nth(which.checked_rem(self.taken.len())?)?;
        self.taken.remove_entry(&id)
    }

    async fn check(&self, queue: &dyn EventQueue, store: &dyn MessageStore) {
        let messages = store.peek(CHANNEL, None, usize::MAX).await.unwrap();
        assert_eq!(messages.into_iter().map(|(_, message)| message).collect::<Vec<_>>(), self.messages);
        assert_eq!(queue.depth().await.unwrap(), self.waiting.len() + self.taken.len());
        assert_eq!(queue.next_due().await.unwrap(), self.next().map(|key| key.0));
        let mut letters: Vec<(u64, DeadLetter)> = Vec::new();
        loop {
            let after = letters.last().map(|(sequence, _)| *sequence);
            let page = queue.dead_letters(&account(), after, 2).await.unwrap();
            if page.is_empty() {
                break;
            }
            letters.extend(page);
        }
        assert_eq!(letters.into_iter().map(|(_, letter)| letter).collect::<Vec<_>>(), self.letters);
    }

    /// No payload file without an event or a letter that refers to it.
    fn check_files(&self, dir: &Path) {
        let letters = self.letters.iter().map(|letter| &letter.event);
        let large = self.waiting.values().chain(self.taken.values()).chain(letters).filter(|e| e.payload.len() > 4096);
        let messages = self.messages.iter().filter(|message| message.body.len() > 4096);
        let files = std::fs::read_dir(dir.join("payloads")).unwrap().count();
        assert_eq!(files, large.count() + messages.count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_queue_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..32)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut database = Database::open_with(dir.path(), LIMITS).await.unwrap();
            let mut model = Model::default();
            for step in &steps {
                if matches!(step, Step::Reopen) {
                    drop(database);
                    database = Database::open_with(dir.path(), LIMITS).await.unwrap();
                }
                let queue = database.events();
                model.apply(&*queue, step).await;
                model.check(&*queue, &*database.messages()).await;
                model.check_files(dir.path());
            }
        });
    }
}

#[tokio::test]
async fn events_taken_by_a_call_that_was_dropped_are_offered_again() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).await.unwrap();
    let queue = database.events();
    queue.push(event("q", 1, b"payload")).await.unwrap();
    queue.changed().await;
    // Its work is done on another thread, which may be faster than this one: then there was nothing to drop.
    const TRIES_MAX: usize = 1_000;
    let mut dropped = false;
    for _ in 0..TRIES_MAX {
        let mut taking = queue.take_due(1, 1);
        let waker = std::task::Waker::noop();
        let Poll::Ready(taken) = taking.as_mut().poll(&mut std::task::Context::from_waker(waker)) else {
            dropped = true;
            break;
        };
        for (id, event) in taken.unwrap() {
            queue.reschedule(id, event).await.unwrap();
            queue.changed().await;
        }
    }
    assert!(dropped, "no call could be dropped in the middle of its work");
    // Dropped after it had begun: when its work is over, the event is put back and the queue says so.
    tokio::time::timeout(Duration::from_secs(10), queue.changed()).await.unwrap();
    assert_eq!(queue.take_due(1, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_payload_is_named_and_does_not_stand_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).await.unwrap();
    let queue = database.events();
    queue.push(event("q1", 1, &[1; 10_000])).await.unwrap();
    let path = std::fs::read_dir(dir.path().join("payloads")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&path, b"short").unwrap();
    queue.push(event("q2", 2, &[2; 10_000])).await.unwrap();
    let failure = queue.take_due(5, 2).await.unwrap_err();
    assert!(failure.operation.contains(path.to_str().unwrap()), "{failure}");
    let taken = queue.take_due(5, 2).await.unwrap();
    assert_eq!(taken.iter().map(|(_, event)| event.request_id.as_str()).collect::<Vec<_>>(), ["q2"]);
}

/// Where the child of the crash test keeps its database; unset in any other run.
const CRASH_DIR: &str = "HEARTH_TEST_CRASH_DIR";
const CRASH_ROUNDS: u32 = 6;
const CRASH_WRITERS: usize = 4;
/// When an event is due that is not meant to run, Unix milliseconds.
const NEVER: u64 = u64::MAX - 1;

/// Pushes events from several tasks, settles every third, and prints what was acknowledged, until it is killed.
#[test]
fn crash_child() {
    let Ok(dir) = std::env::var(CRASH_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::open(Path::new(&dir)).await.unwrap();
        let writers = (0..CRASH_WRITERS).map(|writer| tokio::spawn(write_forever(database.events(), writer)));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

async fn write_forever(queue: std::sync::Arc<dyn EventQueue>, writer: usize) {
    for count in 0_u64.. {
        let name = format!("p{}-w{writer}-{count}", std::process::id());
        let size = if count % 5 == 0 { 20_000 } else { 50 };
        queue.push(event(&name, 1, &vec![b'x'; size])).await.unwrap();
        println!("\npushed {name}");
        if count % 3 == 0 {
            for (id, mut event) in queue.take_due(1, 1).await.unwrap() {
                // Not offered again in this process.
                event.due_unix_ms = 2;
                let name = event.request_id.clone();
                println!("\nsettling {name}");
                let leaves = if count % 2 == 0 {
                    DeadLetter { event, condition: "c".into(), error: None, unix_ms: 1 }.into()
                } else {
                    // Both or none; the second is never due here.
                    let message = records::message(CHANNEL, name.as_str(), &vec![b'y'; size]);
                    let follower = records::event(name.as_str(), NEVER, &vec![b'z'; size]);
                    Settlement { messages: vec![message], events: vec![follower], dead_letter: None }
                };
                queue.settle(id, leaves).await.unwrap();
                println!("\nsettled {name}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stored, mut settling, mut settled) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for round in 0..CRASH_ROUNDS {
        for line in run_and_kill(dir.path(), 40 + 97 * round) {
            match line.split_once(' ') {
                Some(("pushed", name)) => drop(stored.insert(name.to_owned())),
                Some(("settling", name)) => drop(settling.insert(name.to_owned())),
                Some(("settled", name)) => drop(settled.insert(name.to_owned())),
                _ => {}
            }
        }
        let limits = QueueLimits { max_taken_per_function: usize::MAX, ..QueueLimits::default() };
        let database = Database::open_with(dir.path(), limits).await.unwrap();
        let queue = database.events();
        let depth = queue.depth().await.unwrap();
        let found = queue.take_due(u64::MAX, usize::MAX).await.unwrap();
        assert_eq!(found.len(), depth);
        let letters = queue.dead_letters(&account(), None, usize::MAX).await.unwrap();
        let (followers, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, event)| event.due_unix_ms == NEVER);
        let names = |events: Vec<(EventId, Event)>| -> BTreeSet<_> {
            events.into_iter().map(|(_, event)| event.request_id.to_string()).collect()
        };
        let (followers, found) = (names(followers), names(found));
        let messages = database.messages().peek(CHANNEL, None, usize::MAX).await.unwrap();
        let messages: BTreeSet<_> = messages.into_iter().map(|(_, message)| message.id).collect();
        assert_eq!(messages, followers, "half of what a settled event leaves behind");
        let dead: BTreeSet<_> = letters.into_iter().map(|(_, letter)| letter.event.request_id.to_string()).collect();
        assert!(found.is_disjoint(&dead), "both an event and a dead letter");
        assert!(found.is_disjoint(&settled), "settled and there again");
        assert!(found.is_disjoint(&messages), "both an event and its record");
        for name in &settled {
            assert!(dead.contains(name) != messages.contains(name), "round {round}: {name} left nothing behind");
        }
        for name in &stored {
            let here =
                found.contains(name) || dead.contains(name) || messages.contains(name) || settling.contains(name);
            assert!(here, "round {round}: {name} was acknowledged and is lost");
        }
    }
    assert!(stored.len() > CRASH_ROUNDS as usize && !settled.is_empty(), "the child did next to nothing");
}

/// Runs the child until it has acknowledged `lines` lines, kills it in the middle of its work, and returns all lines.
fn run_and_kill(dir: &Path, lines: u32) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash_child", "--exact", "--nocapture"])
        .env(CRASH_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen: Vec<_> = output.by_ref().take(lines as usize).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // A last line may be cut short: then it is no whole name.
    seen.extend(output.map_while(Result::ok));
    seen
}
