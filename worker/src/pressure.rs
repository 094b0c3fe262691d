//! Gives memory back when the host runs short of it: idle slots end, the one idle longest first.
//!
//! Memory is promised more than once, because functions seldom use what they ask for. When they do, what was kept warm
//! for nobody in particular goes before the kernel has to choose whom to kill. A slot that a call takes meanwhile stays;
//! what ended, the next report lacks, and a call that still meant it is told so before it starts.

mod core;
mod source;

use std::convert::Infallible;
use std::sync::Arc;

use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::Moment;
use tracing::warn;

use self::core::PressureCore;
pub use self::core::Sample;
pub use self::source::{HostMemory, MemorySource};
use crate::pool::{now, sleep_until};
use crate::slot::{Host, Slots};

/// Watches the host's memory.
pub(crate) struct Pressure {
    pub(crate) source: Box<dyn MemorySource>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) host: Arc<Host>,
}

impl Pressure {
    /// Watches until the tasks are asked to stop. Should it fail, the worker goes on: the kernel still holds the limits.
    pub(crate) fn start(self, tasks: &Tasks) {
        let stop = tasks.clone();
        tasks.spawn("memory pressure", OnFailure::Log, async move {
            tokio::select! {
                never = self.run() => match never {},
                () = stop.stopping() => Ok::<(), Infallible>(()),
            }
        });
    }

    async fn run(mut self) -> Infallible {
        let mut core = PressureCore::default();
        loop {
            let deadline = core.deadline().map(|at| self.host.clock.instant(at.since(Moment::ORIGIN)));
            let sample = tokio::select! {
                sample = self.source.changed() => sample,
                () = sleep_until(deadline) => self.source.now(),
            };
            let idle = self.slots.idle();
            let count = core.on_sample(now(&self.host.clock), sample, idle.len());
            if count > 0 {
                let available = sample.available_permille;
                warn!(
                    slots = count,
                    idle = idle.len(),
                    available_permille = available,
                    "memory is short: idle slots end"
                );
                self.slots.end_idle(&idle[..count]);
            }
        }
    }
}
