//! What functions used: counted in memory on the path of every call, written once a second and at shutdown.
//!
//! Invariant: what was added is either in memory or in the store. A crash loses at most the last
//! [`FLUSH_INTERVAL`]; a store that fails loses nothing, because what it did not take is added back.
//!
//! The Prometheus counters are per account only: functions come and go, and a label for each would never be forgotten.
//! Per function there is the store itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::{AccountId, FunctionName};
use hearth_store::usage::Usage;
use hearth_store::{StoreFailure, UsageStore};
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::Notify;
use tracing::error;

use crate::invocation::Meter;

/// How long additions are gathered before they are written.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Counts usage.
pub struct Metering {
    store: Arc<dyn UsageStore>,
    gathered: Mutex<Gathered>,
    /// Something was added to what was empty.
    begun: Notify,
    /// One flush at a time, so that the caller of the last one knows that all is written.
    flushing: tokio::sync::Mutex<()>,
    counters: Counters,
}

type Gathered = HashMap<(AccountId, FunctionName), Usage>;

impl Meter for Metering {
    fn add(&self, account: &AccountId, name: &FunctionName, usage: Usage) {
        let mut gathered = self.gathered();
        if gathered.is_empty() {
            self.begun.notify_one();
        }
        gathered.entry((account.clone(), name.clone())).or_default().add(&usage);
    }
}

impl Metering {
    /// Starts counting, with a task that writes. After the last call, [`Self::flush`] writes the rest.
    pub fn start(
        store: Arc<dyn UsageStore>,
        tasks: &Tasks,
        registry: &Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let counters = Counters::register(registry)?;
        let metering = Arc::new(Self {
            store,
            gathered: Mutex::default(),
            begun: Notify::new(),
            flushing: tokio::sync::Mutex::default(),
            counters,
        });
        let (flusher, stop) = (metering.clone(), tasks.stop_token());
        tasks.spawn("usage flush", OnFailure::Log, async move {
            stop.run_until_cancelled(flusher.flush_forever()).await;
            // Calls that still run are flushed by whoever drains them.
            flusher.flush().await
        });
        Ok(metering)
    }

    /// Writes what was added so far.
    pub async fn flush(&self) -> Result<(), StoreFailure> {
        let _one_at_a_time = self.flushing.lock().await;
        let mut batch = Batch { metering: self, additions: std::mem::take(&mut *self.gathered()) };
        if batch.additions.is_empty() {
            return Ok(());
        }
        let additions: Vec<_> = batch.additions.iter().map(|(key, usage)| (key.clone(), *usage)).collect();
        self.store.add(additions).await?;
        for ((account, _), usage) in batch.additions.drain() {
            self.counters.add(&account, &usage);
        }
        Ok(())
    }

    async fn flush_forever(&self) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(FLUSH_INTERVAL).await;
            if let Err(failure) = self.flush().await {
                error!(%failure, "usage was not written; it is kept for the next time");
            }
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is being written. Dropped before it was (the store failed, or the flush was given up), it is added back: rather
/// counted twice than not at all, since of a failed write nobody knows what became of it.
struct Batch<'a> {
    metering: &'a Metering,
    additions: Gathered,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for ((account, name), usage) in self.additions.drain() {
            self.metering.add(&account, &name, usage);
        }
    }
}

struct Counters {
    invocations: IntCounterVec,
    errors: IntCounterVec,
    throttles: IntCounterVec,
    cold_starts: IntCounterVec,
    billed_ms: IntCounterVec,
    mb_ms: IntCounterVec,
}

impl Counters {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, help| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["account"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            invocations: counter("hearth_invocations_total", "Invocations that reached an environment.")?,
            errors: counter("hearth_invocation_errors_total", "Invocations that ended in a function error.")?,
            throttles: counter("hearth_throttles_total", "Calls refused with 429.")?,
            cold_starts: counter("hearth_cold_starts_total", "Invocations that had to wait for an init.")?,
            billed_ms: counter("hearth_billed_milliseconds_total", "Billed time, milliseconds.")?,
            mb_ms: counter("hearth_memory_mb_milliseconds_total", "Memory × billed time, MB-milliseconds.")?,
        })
    }

    fn add(&self, account: &AccountId, usage: &Usage) {
        let Usage { invocations, errors, throttles, cold_starts, billed_ms, mb_ms } = *usage;
        let account = &[account.as_str()];
        self.invocations.with_label_values(account).inc_by(invocations);
        self.errors.with_label_values(account).inc_by(errors);
        self.throttles.with_label_values(account).inc_by(throttles);
        self.cold_starts.with_label_values(account).inc_by(cold_starts);
        self.billed_ms.with_label_values(account).inc_by(billed_ms);
        self.mb_ms.with_label_values(account).inc_by(mb_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;

    type Additions = Vec<((AccountId, FunctionName), Usage)>;

    /// Hands on what it gets, unless told to fail.
    struct Recording {
        failing: AtomicBool,
        added: mpsc::UnboundedSender<Additions>,
    }

    #[async_trait]
    impl UsageStore for Recording {
        async fn add(&self, additions: Additions) -> Result<(), StoreFailure> {
            if self.failing.load(Ordering::SeqCst) {
                return Err(StoreFailure::new("add usage", "disk full"));
            }
            self.added.send(additions).unwrap();
            Ok(())
        }

        async fn read(&self, _: &AccountId) -> Result<Vec<(FunctionName, Usage)>, StoreFailure> {
            unreachable!("metering only adds")
        }
    }

    struct Bench {
        metering: Arc<Metering>,
        store: Arc<Recording>,
        added: mpsc::UnboundedReceiver<Additions>,
        tasks: Tasks,
        registry: Registry,
    }

    fn bench() -> Bench {
        let (sender, added) = mpsc::unbounded_channel();
        let store = Arc::new(Recording { failing: AtomicBool::new(false), added: sender });
        let (tasks, registry) = (Tasks::new(), Registry::new());
        let metering = Metering::start(store.clone(), &tasks, &registry).unwrap();
        Bench { metering, store, added, tasks, registry }
    }

    const ONE: Usage = Usage { invocations: 1, errors: 0, throttles: 0, cold_starts: 0, billed_ms: 5, mb_ms: 640 };

    fn invocations(additions: &Additions) -> u64 {
        additions.iter().map(|(_, usage)| usage.invocations).sum()
    }

    fn count(bench: &Bench, name: &str) {
        bench.metering.add(&"000000000000".parse().unwrap(), &name.parse().unwrap(), ONE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_together_in_a_second_is_written_at_once() {
        let mut bench = bench();
        let started = tokio::time::Instant::now();
        (0..3).for_each(|_| count(&bench, "f"));
        count(&bench, "g");
        let mut additions = bench.added.recv().await.unwrap();
        additions.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(started.elapsed(), FLUSH_INTERVAL);
        let numbers: Vec<_> = additions.iter().map(|((_, name), usage)| (name.as_str(), usage.invocations)).collect();
        assert_eq!(numbers, [("f", 3), ("g", 1)]);
        assert!(bench.tasks.stop(FLUSH_INTERVAL).await);
        let text = prometheus::TextEncoder::new().encode_to_string(&bench.registry.gather()).unwrap();
        assert!(text.contains("hearth_invocations_total{account=\"000000000000\"} 4"), "{text}");
        assert!(text.contains("hearth_memory_mb_milliseconds_total{account=\"000000000000\"} 2560"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_loses_nothing() {
        let mut bench = bench();
        bench.store.failing.store(true, Ordering::SeqCst);
        count(&bench, "f");
        assert!(bench.metering.flush().await.is_err());
        count(&bench, "f");
        bench.store.failing.store(false, Ordering::SeqCst);
        assert_eq!(invocations(&bench.added.recv().await.unwrap()), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_writes_the_rest_and_a_last_flush_what_came_after() {
        let mut bench = bench();
        count(&bench, "f");
        assert!(bench.tasks.stop(Duration::ZERO + FLUSH_INTERVAL / 2).await);
        assert_eq!(invocations(&bench.added.recv().await.unwrap()), 1);
        count(&bench, "f");
        bench.metering.flush().await.unwrap();
        assert_eq!(invocations(&bench.added.recv().await.unwrap()), 1);
    }

    #[tokio::test]
    async fn nothing_is_lost_between_additions_and_flushes() {
        let mut bench = bench();
        let adders = (0..4).map(|_| {
            let metering = bench.metering.clone();
            tokio::task::spawn_blocking(move || {
                for _ in 0..10_000 {
                    metering.add(&"000000000000".parse().unwrap(), &"f".parse().unwrap(), ONE);
                }
            })
        });
        let adders: Vec<_> = adders.collect();
        for _ in 0..100 {
            bench.metering.flush().await.unwrap();
        }
        for adder in adders {
            adder.await.unwrap();
        }
        bench.metering.flush().await.unwrap();
        let mut sum = 0;
        while let Ok(additions) = bench.added.try_recv() {
            sum += invocations(&additions);
        }
        assert_eq!(sum, 40_000);
    }
}
