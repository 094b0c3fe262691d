//! Tells placement what this worker has, how loaded it is and which slots are on it; does what placement asks back.
//!
//! Every report is complete. One goes out every interval, and one soon after a change; changes that come together go
//! together. While placement is away, reports fail and go on.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::{Isolation, Moment, SlotId};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::placement::{Capacity, Load, Placement, PooledCount, SlotReport, WorkerReport};
use tokio::sync::watch;
use tracing::{debug, info};

use crate::class::SandboxClass;
use crate::pool::{PoolState, now};
use crate::slot::{Host, SlotView, Slots};

/// Changes within this time of each other go into one report.
const COALESCE: Duration = Duration::from_millis(10);

/// What a worker is, as far as that never changes.
pub(crate) struct Identity {
    pub(crate) endpoint: WorkerEndpoint,
    pub(crate) incarnation: u64,
    pub(crate) capacity: Capacity,
    pub(crate) isolation: Isolation,
    pub(crate) interval: Duration,
}

/// Sends the reports.
pub(crate) struct Reporter {
    pub(crate) identity: Identity,
    pub(crate) host: Arc<Host>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) placement: Arc<dyn Placement>,
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) pool: watch::Receiver<PoolState>,
}

impl Reporter {
    /// Reports until the tasks are asked to stop.
    pub(crate) fn start(self, tasks: &Tasks) {
        let stop = tasks.clone();
        tasks.spawn("report", OnFailure::EndRole, async move {
            tokio::select! {
                never = self.run() => match never {},
                () = stop.stopping() => Ok::<(), Infallible>(()),
            }
        });
    }

    async fn run(mut self) -> Infallible {
        let mut cpu = CpuMeter::default();
        let mut sequence = 0;
        let mut reachable = true;
        loop {
            sequence += 1;
            let report = self.report(sequence, &mut cpu);
            match self.placement.report(report).await {
                Ok(ack) => {
                    if !reachable {
                        info!("placement takes reports again");
                    }
                    reachable = true;
                    self.slots.reclaim(ack.reclaim);
                }
                Err(error) => {
                    self.host.metrics.reports_failed.inc();
                    if reachable {
                        info!(%error, "placement does not take reports; slots go on");
                    }
                    debug!(%error, sequence, "report failed");
                    reachable = false;
                }
            }
            self.wait(reachable).await;
        }
    }

    /// Waits for the next reason to report. Changes hurry only a placement that listens.
    async fn wait(&mut self, reachable: bool) {
        let changed = async {
            tokio::select! {
                () = self.host.changed.notified() => {}
                Ok(()) = self.pool.changed() => {}
                Ok(()) = self.draining.changed() => {}
            }
            tokio::time::sleep(COALESCE).await;
        };
        tokio::select! {
            () = changed, if reachable => {}
            () = tokio::time::sleep(self.identity.interval) => {}
        }
    }

    fn report(&mut self, sequence: u64, cpu: &mut CpuMeter) -> WorkerReport {
        let views = self.slots.views();
        let pool = self.pool.borrow_and_update().clone();
        self.host.metrics.slots.set(i64::try_from(views.len()).unwrap_or(i64::MAX));
        self.host.metrics.pool(&pool);
        let memory_bytes: u64 = views.iter().map(|view| view.memory_bytes).sum();
        let load =
            Load { memory_mb: memory_bytes / (1024 * 1024), milli_cpus: cpu.milli_cpus(now(&self.host.clock), &views) };
        WorkerReport {
            worker: self.identity.endpoint.clone(),
            incarnation: self.identity.incarnation,
            sequence,
            capacity: self.identity.capacity,
            load,
            runtimes: self.host.offer.runtimes(),
            isolation: self.identity.isolation,
            pooled: pooled(&pool),
            cached_bundles: self.host.code.newest(),
            slots: views.into_iter().map(slot_report).collect(),
            draining: *self.draining.borrow_and_update(),
        }
    }
}

fn pooled(pool: &PoolState) -> Vec<PooledCount> {
    let count = |&(class, ready): &(SandboxClass, u32)| {
        let memory_mb = class.memory.mb();
        class.runtime.runtimes().into_iter().map(move |runtime| PooledCount { runtime, memory_mb, ready })
    };
    pool.counts.iter().flat_map(count).collect()
}

fn slot_report(view: SlotView) -> SlotReport {
    SlotReport {
        slot: view.slot,
        token: view.token,
        holder: view.holder,
        function: view.function,
        memory_mb: view.memory.get(),
        state: view.state,
    }
}

/// CPU time used between two reports.
#[derive(Default)]
struct CpuMeter {
    last: HashMap<SlotId, Duration>,
    at: Moment,
}

impl CpuMeter {
    fn milli_cpus(&mut self, now: Moment, views: &[SlotView]) -> u64 {
        let spent: Duration = views
            .iter()
            .map(|view| view.cpu.saturating_sub(self.last.get(&view.slot).copied().unwrap_or_default()))
            .sum();
        let passed = now.since(self.at);
        self.last = views.iter().map(|view| (view.slot, view.cpu)).collect();
        self.at = now;
        u64::try_from(spent.as_micros() * 1_000 / passed.as_micros().max(1)).unwrap_or(u64::MAX)
    }
}
