//! The nodes: each does around its core what the role's shell does.

mod clients;
mod manager;
mod placement;
mod worker;

pub(super) use clients::{Answered, CALL_BOUND, Call, Clients};
pub(super) use manager::ManagerNode;
pub(super) use placement::PlacementNode;
pub(super) use worker::WorkerNode;

use hearth_domain::Moment;

use super::clock::{Instant, NodeClock};
use super::event::{Event, Life, NodeId};
use super::network::Network;

/// What every node has: lives, a clock for each, and one timer.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) id: NodeId,
    pub(super) alive: bool,
    pub(super) life: Life,
    clock: NodeClock,
    drift_ppm: i64,
    timer: Option<Instant>,
}

impl Host {
    pub(super) fn new(id: NodeId, drift_ppm: i64) -> Self {
        let clock = NodeClock::new(Instant::default(), Moment::ORIGIN, drift_ppm);
        Self { id, alive: false, life: 0, clock, drift_ppm, timer: None }
    }

    /// A new life begins, with a clock that starts anywhere.
    pub(super) fn start(&mut self, net: &mut Network) {
        const ORIGINS_S: u64 = 100_000;
        self.alive = true;
        self.life += 1;
        self.timer = None;
        let origin = Moment::from_nanos(net.chance.within(0, ORIGINS_S * 1_000_000_000));
        self.clock = NodeClock::new(net.now, origin, self.drift_ppm);
    }

    pub(super) fn crash(&mut self) {
        self.alive = false;
    }

    pub(super) fn now(&self, net: &Network) -> Moment {
        self.clock.at(net.now)
    }

    /// Has a [`Event::Timer`] happen when the core asks for it, or a little later, as it goes.
    pub(super) fn arm(&mut self, deadline: Option<Moment>, net: &mut Network) {
        const USUAL_MICROS: u64 = 1_000;
        const STALL_MS: u64 = 300;
        let Some(deadline) = deadline else {
            self.timer = None;
            return;
        };
        let due = self.clock.when(deadline).max(net.now);
        if self.timer.is_some_and(|armed| armed >= due && armed.0 < due.0 + USUAL_MICROS * 1_000) {
            return;
        }
        let lateness = if net.chance.permille(net.weather().late / 10) {
            net.chance.within(0, STALL_MS * 1_000_000)
        } else {
            net.chance.within(0, USUAL_MICROS * 1_000)
        };
        let at = Instant(due.0 + lateness);
        self.timer = Some(at);
        net.at(at, Event::Timer { node: self.id, life: self.life, at });
    }

    /// Whether this timer is the one that was set last.
    pub(super) fn rings(&mut self, life: Life, at: Instant) -> bool {
        let rings = self.alive && self.life == life && self.timer == Some(at);
        if rings {
            self.timer = None;
        }
        rings
    }
}
