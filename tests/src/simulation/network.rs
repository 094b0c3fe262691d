//! Everything between the nodes: messages on their way, calls that wait for answers, and what is to happen when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::chance::Chance;
use super::clock::Instant;
use super::event::{About, Event, Life, NodeId, Pending, Request, Response, RpcId};
use super::fault::Fault;
use super::oracle::Oracle;
use super::scenario::Weather;

/// The network, the agenda of the run, and what every node needs to act.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) chance: Chance,
    pub(super) oracle: Oracle,
    pub(super) fault: Option<Fault>,
    pub(super) calls: BTreeMap<RpcId, Pending>,
    agenda: BinaryHeap<Reverse<Due>>,
    order: u64,
    next_rpc: u64,
    weather: Weather,
    calm_at: Instant,
    partitions: Vec<Partition>,
    /// A hash of all that happened.
    pub(super) trace: u64,
    pub(super) events: u64,
    /// The cores are checked after every so many events.
    check_every: u64,
    /// Every event is printed.
    pub(super) told: bool,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    order: u64,
    event: Event,
}

/// Two nodes that can't reach each other for a while.
#[derive(Debug)]
struct Partition {
    from: Instant,
    until: Instant,
    between: (NodeId, NodeId),
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl Network {
    pub(super) fn new(mut chance: Chance, weather: Weather, calm_at: Instant, fault: Option<Fault>) -> Self {
        let chance_of_nodes = chance.fork();
        Self {
            now: Instant::default(),
            chance: chance_of_nodes,
            oracle: Oracle::default(),
            fault,
            calls: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            order: 0,
            next_rpc: 0,
            weather,
            calm_at,
            partitions: Vec::new(),
            trace: 0xcbf2_9ce4_8422_2325,
            events: 0,
            check_every: 1,
            told: false,
        }
    }

    /// Cuts two nodes off from each other for some seconds.
    pub(super) fn partition(&mut self, between: (NodeId, NodeId)) {
        let from = Instant::from_ms(self.chance.within(0, self.calm_at.ms()));
        let until = from.plus_ms(self.chance.within(200, 6_000)).min(self.calm_at);
        self.partitions.push(Partition { from, until, between });
    }

    /// What goes wrong now.
    pub(super) fn weather(&self) -> Weather {
        if self.now < self.calm_at { self.weather } else { Weather::default() }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// In large fleets a check takes longer than a thousand events.
    pub(super) fn check_every(&mut self, events: u64) {
        self.check_every = events;
    }

    /// Whether cores are to be checked after this event.
    pub(super) fn checks_now(&self) -> bool {
        self.events.is_multiple_of(self.check_every)
    }

    /// Has something happen.
    pub(super) fn at(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.agenda.push(Reverse(Due { at: at.max(self.now), order: self.order, event }));
    }

    pub(super) fn in_ms(&mut self, ms: u64, event: Event) {
        self.at(self.now.plus_ms(ms), event);
    }

    /// What happens next, before `end`; time moves there.
    pub(super) fn next(&mut self, end: Instant) -> Option<Event> {
        if self.agenda.peek()?.0.at > end {
            return None;
        }
        let Reverse(due) = self.agenda.pop()?;
        self.now = due.at;
        self.events += 1;
        if self.told {
            println!("{:6} ms  {:?}", due.at.ms(), due.event);
        }
        self.note(due.at.0 ^ due.order.rotate_left(32));
        Some(due.event)
    }

    /// Makes `value` part of the run's hash.
    pub(super) fn note(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
    }

    /// One role calls another. It hears an answer, or a failure after `patience` at the latest.
    pub(super) fn call(
        &mut self,
        (caller, life): (NodeId, Life),
        to: NodeId,
        request: Request,
        about: About,
        patience: Duration,
    ) -> RpcId {
        let rpc = RpcId(self.next_rpc);
        self.next_rpc += 1;
        self.note(rpc.0);
        let streams = matches!(about, About::Claim(_));
        let waits = !matches!(about, About::Nothing);
        if waits {
            let pending = Pending { caller, life, to, about, cut: false, not_before: self.now };
            self.calls.insert(rpc, pending);
            self.at(self.now.plus(patience), Event::Failed { rpc, not_sent: false });
        }
        let copies = self.copies(caller, to);
        if copies.is_empty() && streams {
            self.cut(rpc);
        }
        for at in copies {
            self.at(at, Event::Request { rpc, from: (caller, life), to, request: request.clone() });
        }
        rpc
    }

    /// Answers a call; for claims, one of several answers, in order.
    pub(super) fn respond(&mut self, rpc: RpcId, response: Response) {
        let Some(pending) = self.calls.get(&rpc) else { return };
        if pending.cut {
            return;
        }
        let (from, caller, not_before) = (pending.to, pending.caller, pending.not_before);
        let streams = matches!(pending.about, About::Claim(_));
        let copies = self.copies(from, caller);
        if copies.is_empty() && streams {
            return self.cut(rpc);
        }
        for at in copies {
            let at = if streams { at.max(not_before) } else { at };
            if let Some(pending) = self.calls.get_mut(&rpc).filter(|_| streams) {
                pending.not_before = pending.not_before.max(at);
            }
            self.at(at, Event::Response { rpc, response: response.clone() });
        }
    }

    /// The connection of a call breaks: its caller learns that a little later, and hears nothing else any more.
    pub(super) fn cut(&mut self, rpc: RpcId) {
        let after = self.chance.within(1, 400);
        if let Some(pending) = self.calls.get_mut(&rpc).filter(|pending| !pending.cut) {
            pending.cut = true;
            self.in_ms(after, Event::Failed { rpc, not_sent: false });
        }
    }

    /// A node has died: whoever waits for it learns that soon.
    pub(super) fn reset_calls_to(&mut self, node: NodeId) {
        let waiting: Vec<RpcId> =
            self.calls.iter().filter(|(_, pending)| pending.to == node).map(|(rpc, _)| *rpc).collect();
        waiting.into_iter().for_each(|rpc| self.cut(rpc));
    }

    /// When the copies of a message arrive: none if it is lost, two if it is doubled.
    fn copies(&mut self, from: NodeId, to: NodeId) -> Vec<Instant> {
        let weather = self.weather();
        if self.parted(from, to) || self.chance.permille(weather.lost) {
            return Vec::new();
        }
        let mut copies = vec![self.arrival(weather)];
        if self.chance.permille(weather.doubled) {
            copies.push(self.arrival(weather));
        }
        copies
    }

    fn arrival(&mut self, weather: Weather) -> Instant {
        let micros = if self.chance.permille(weather.late) {
            self.chance.within(200_000, 4_000_000)
        } else {
            self.chance.within(50, 3_000)
        };
        self.now.plus(Duration::from_micros(micros))
    }

    fn parted(&self, a: NodeId, b: NodeId) -> bool {
        let now = self.now;
        let between = |partition: &Partition| partition.between == (a, b) || partition.between == (b, a);
        self.partitions.iter().any(|partition| between(partition) && partition.from <= now && now < partition.until)
    }
}
