//! The router behind its lock, and what its steps ask for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use hearth_daemon::Clock;
use hearth_domain::{FencingToken, Moment, RequestId, SlotId, SlotOutcome};
use hearth_protocol::Placement;
use hearth_protocol::worker_manager::{Completion, Reservation, ReserveError};
use prometheus::{Histogram, HistogramOpts};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::config::Config;
use crate::leases::Renewal;
use crate::router::{Claim, Outbox, Router, WaiterId};

/// What a waiter is answered.
pub(super) type Answer = Result<Reservation, ReserveError>;

/// What all tasks of a worker manager share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) placement: Arc<dyn Placement>,
    pub(super) clock: Clock,
    /// Makes this life's claim ids differ from those of every other.
    pub(super) life: Uuid,
    /// The driver should look at its deadline again.
    pub(super) wake: Notify,
    pub(super) wait_seconds: Histogram,
    quiet: Notify,
    state: Mutex<State>,
}

struct State {
    router: Router,
    outgoing: Outgoing,
    /// When the driver wakes by itself; `None` for never.
    driver_wakes_at: Option<Moment>,
}

/// What the router sent and nobody took yet.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) claims: Vec<Claim>,
    pub(super) renewals: Vec<Renewal>,
    pub(super) releases: Vec<(SlotId, FencingToken)>,
    waiting: HashMap<WaiterId, (RequestId, oneshot::Sender<Answer>)>,
    /// Slots handed to callers that had just left.
    undelivered: Vec<(RequestId, Reservation)>,
}

impl Shared {
    pub(super) fn new(config: Config, placement: Arc<dyn Placement>, clock: Clock) -> Self {
        let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
        let help = "How long calls waited that did not get a slot at once";
        let opts = HistogramOpts::new("hearth_worker_manager_wait_seconds", help).buckets(buckets);
        Self {
            state: Mutex::new(State {
                router: Router::new(config.router.clone()),
                outgoing: Outgoing::default(),
                driver_wakes_at: None,
            }),
            wait_seconds: Histogram::with_opts(opts).expect("name and buckets are constants"),
            config,
            placement,
            clock,
            life: Uuid::new_v4(),
            wake: Notify::new(),
            quiet: Notify::new(),
        }
    }

    /// One step of the router, and what follows from it at once.
    pub(super) fn step<T>(&self, step: impl FnOnce(&mut Router, &mut Outgoing, Moment) -> T) -> T {
        let mut state = self.lock();
        let now = self.now();
        let State { router, outgoing, driver_wakes_at } = &mut *state;
        let result = step(router, outgoing, now);
        outgoing.take_back_undelivered(router, now);
        if let Some(next) = router.next_deadline()
            && driver_wakes_at.is_none_or(|at| next < at)
        {
            *driver_wakes_at = Some(next);
            self.wake.notify_one();
        }
        result
    }

    /// The driver's step: everything that is due, then what was sent, and when to come back.
    pub(super) fn turn(&self) -> (Outgoing, Option<Moment>) {
        let mut state = self.lock();
        let now = self.now();
        let State { router, outgoing, driver_wakes_at } = &mut *state;
        router.on_tick(now, outgoing);
        outgoing.take_back_undelivered(router, now);
        *driver_wakes_at = router.next_deadline();
        if router.in_flight() == 0 {
            self.quiet.notify_waiters();
        }
        let sent = Outgoing {
            claims: std::mem::take(&mut outgoing.claims),
            renewals: std::mem::take(&mut outgoing.renewals),
            releases: std::mem::take(&mut outgoing.releases),
            ..Outgoing::default()
        };
        (sent, router.next_deadline())
    }

    /// Resolves when no call waits or runs. Meant for the time after the drain began.
    pub(super) async fn quiet(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.step(|router, _, _| router.in_flight() == 0) {
                return;
            }
            quiet.await;
        }
    }

    pub(super) fn now(&self) -> Moment {
        let nanos = self.clock.elapsed().as_nanos();
        Moment::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The tokio instant of a moment.
    pub(super) fn instant(&self, moment: Moment) -> tokio::time::Instant {
        self.clock.instant(moment.since(Moment::ORIGIN))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|_| {
            // Nobody can say any more which slot is whose. The driver meets this, too, and ends the role.
            self.wake.notify_one();
            panic!("an earlier step of the router panicked")
        })
    }
}

impl Outgoing {
    /// The caller of this waiter listens.
    pub(super) fn listen(&mut self, waiter: WaiterId, request_id: RequestId) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(waiter, (request_id, sender));
        receiver
    }

    /// The caller of this waiter left.
    pub(super) fn forget(&mut self, waiter: WaiterId) {
        self.waiting.remove(&waiter);
    }

    /// Gives the slots of callers that had left to whoever is next.
    fn take_back_undelivered(&mut self, router: &mut Router, now: Moment) {
        while let Some((request_id, reservation)) = self.undelivered.pop() {
            router.on_complete(now, &unused(request_id, &reservation), self);
        }
    }
}

/// Gives a reservation back that its caller never saw, so that nothing ran on it.
pub(super) fn unused(request_id: RequestId, reservation: &Reservation) -> Completion {
    let (slot, token) = (reservation.slot, reservation.token);
    Completion { request_id, slot, token, outcome: SlotOutcome::Reusable }
}

impl Outbox for Outgoing {
    fn answer(&mut self, waiter: WaiterId, answer: Answer) {
        if let Some((request_id, sender)) = self.waiting.remove(&waiter)
            && let Err(Ok(reservation)) = sender.send(answer)
        {
            self.undelivered.push((request_id, reservation));
        }
    }

    fn claim(&mut self, claim: Claim) {
        self.claims.push(claim);
    }

    fn renew(&mut self, renewal: Renewal) {
        self.renewals.push(renewal);
    }

    fn release(&mut self, leases: Vec<(SlotId, FencingToken)>) {
        self.releases.extend(leases);
    }
}
