//! What the tests are set up on: a ledger, its time, and everything it sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{
    AccountId, BundleDigest, ClaimId, EphemeralStorage, FencingToken, FunctionName, FunctionRef, FunctionSpec,
    HolderId, InitFailure, MemorySize, Moment, RevisionId, Runtime, SlotId, SlotState, StartTimes, Timeout, Version,
    WorkerId,
};
use hearth_protocol::placement::{
    Capacity, ClaimOutcome, ClaimRequest, Grant, Load, ReleaseRequest, RenewRequest, RenewResponse, ReportAck,
    SlotReport, WorkerReport,
};
use hearth_protocol::worker::{FenceRequest, InitDone, InitSlot, InitSlotError};
use hearth_protocol::{Unreachable, WorkerEndpoint};

use crate::ledger::{ClaimTicket, Ledger, LedgerConfig, Outbox, RecoverTicket, Start};

pub(super) const REPORT: Duration = Duration::from_millis(500);

/// What the ledger sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sent {
    Init(String, SlotId, FencingToken),
    Fence(String, SlotId, FencingToken),
    Reclaim(String, SlotId, FencingToken),
    Outcome(u64, ClaimOutcome),
    Recovered(u64, Vec<Grant>),
}

#[derive(Debug, Default)]
pub(super) struct Recorder(pub(super) VecDeque<Sent>);

impl Outbox for Recorder {
    fn init_slot(&mut self, worker: &WorkerEndpoint, request: InitSlot) {
        self.0.push_back(Sent::Init(worker.id.to_string(), request.slot, request.token));
    }

    fn fence(&mut self, worker: &WorkerEndpoint, request: FenceRequest) {
        self.0.push_back(Sent::Fence(worker.id.to_string(), request.slot, request.token));
    }

    fn reclaim(&mut self, worker: &WorkerEndpoint, slot: SlotId, token: FencingToken) {
        self.0.push_back(Sent::Reclaim(worker.id.to_string(), slot, token));
    }

    fn claim_outcome(&mut self, ticket: ClaimTicket, outcome: ClaimOutcome) {
        self.0.push_back(Sent::Outcome(ticket.0, outcome));
    }

    fn recovered(&mut self, ticket: RecoverTicket, grants: Vec<Grant>) {
        self.0.push_back(Sent::Recovered(ticket.0, grants));
    }
}

pub(super) struct Bench {
    pub(super) ledger: Ledger,
    pub(super) now: Moment,
    pub(super) out: Recorder,
    sequences: BTreeMap<String, u64>,
    tickets: u64,
}

impl Bench {
    /// A ledger that has settled, with workers of 1,000 MB each.
    pub(super) fn with_workers(names: &[&str]) -> Self {
        let mut bench = Self::just_started(LedgerConfig { expected_workers: Some(names.len()), ..strict() });
        for name in names {
            bench.report(name, &[]);
        }
        assert!(bench.ledger.settled());
        bench
    }

    pub(super) fn just_started(config: LedgerConfig) -> Self {
        let start = Start { now: Moment::ORIGIN, seed: 1, token_floor: 100 };
        let ledger = Ledger::new(config, start);
        Self { ledger, now: Moment::ORIGIN, out: Recorder::default(), sequences: BTreeMap::new(), tickets: 0 }
    }

    /// Lets time pass, doing what falls due on the way at its time.
    pub(super) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(due) = self.ledger.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.ledger.on_deadline(self.now, &mut self.out);
            self.ledger.check_invariants();
        }
        self.now = until;
    }

    pub(super) fn report(&mut self, worker: &str, slots: &[SlotReport]) -> ReportAck {
        let sequence = self.sequences.entry(worker.to_owned()).or_default();
        *sequence += 1;
        let report = WorkerReport { sequence: *sequence, slots: slots.to_vec(), ..report(worker) };
        self.report_as(report)
    }

    pub(super) fn report_as(&mut self, report: WorkerReport) -> ReportAck {
        let ack = self.ledger.on_report(self.now, report, &mut self.out).expect("a good report");
        self.ledger.check_invariants();
        ack
    }

    /// Claims and gives back the ticket.
    pub(super) fn claim(&mut self, id: &str, holder: &str, memory_mb: u32, count: u32) -> u64 {
        self.claim_for(id, holder, function(memory_mb), count)
    }

    /// Claims for a function of its own.
    pub(super) fn claim_for(&mut self, id: &str, holder: &str, function: FunctionSpec, count: u32) -> u64 {
        let function = Arc::new(function);
        let request = ClaimRequest { id: ClaimId::new(id).unwrap(), holder: holder_id(holder), function, count };
        self.tickets += 1;
        let ticket = ClaimTicket(self.tickets);
        self.ledger.on_claim(self.now, request, ticket, &mut self.out).expect("a good claim");
        self.ledger.check_invariants();
        self.tickets
    }

    pub(super) fn init_result(
        &mut self,
        (worker, slot, token): (String, SlotId, FencingToken),
        result: Result<(), InitSlotError>,
    ) {
        let done =
            result.map(|()| InitDone { times: StartTimes { init: Duration::from_millis(5), ..StartTimes::default() } });
        self.ledger.on_init_result(self.now, &endpoint(&worker), (slot, token), done, &mut self.out);
        self.ledger.check_invariants();
    }

    /// A slot, claimed by and granted to `holder`.
    pub(super) fn granted(&mut self, claim: &str, holder: &str) -> (String, SlotId, FencingToken) {
        self.claim(claim, holder, 128, 1);
        let asked = self.sent_init();
        self.init_result(asked.clone(), Ok(()));
        let (_, grant) = self.sent_grant();
        assert_eq!((grant.slot, grant.token), (asked.1, asked.2));
        asked
    }

    pub(super) fn renew(&mut self, holder: &str, slot: SlotId, token: FencingToken) -> RenewResponse {
        let request = RenewRequest { holder: holder_id(holder), leases: vec![(slot, token)] };
        let response = self.ledger.on_renew(self.now, &request).expect("settled");
        self.ledger.check_invariants();
        response
    }

    pub(super) fn release(&mut self, holder: &str, slot: SlotId, token: FencingToken) {
        let request = ReleaseRequest { holder: holder_id(holder), leases: vec![(slot, token)] };
        self.ledger.on_release(&request, &mut self.out).expect("settled");
        self.ledger.check_invariants();
    }

    pub(super) fn next(&mut self) -> Sent {
        self.out.0.pop_front().expect("something was sent")
    }

    pub(super) fn sent_init(&mut self) -> (String, SlotId, FencingToken) {
        match self.next() {
            Sent::Init(worker, slot, token) => (worker, slot, token),
            other => panic!("not an init: {other:?}"),
        }
    }

    pub(super) fn sent_grant(&mut self) -> (u64, Grant) {
        match self.next() {
            Sent::Outcome(ticket, ClaimOutcome::Granted(grant)) => (ticket, grant),
            other => panic!("not a grant: {other:?}"),
        }
    }

    pub(super) fn sent_no_capacity(&mut self) -> String {
        match self.next() {
            Sent::Outcome(_, ClaimOutcome::NoCapacity { reason, .. }) => reason,
            other => panic!("not a refusal: {other:?}"),
        }
    }

    pub(super) fn nothing_else(&self) {
        assert!(self.out.0.is_empty(), "also sent: {:?}", self.out.0);
    }
}

/// Keeps worker `w1` heard of while time passes.
pub(super) fn pass_with_reports(bench: &mut Bench, duration: Duration, slots: &[SlotReport]) {
    let until = bench.now + duration;
    while bench.now + REPORT < until {
        bench.pass(REPORT);
        bench.report("w1", slots);
    }
    bench.pass(until.since(bench.now));
}

/// The workers of these tests promise what they have: what fits is easy to count.
pub(super) fn strict() -> LedgerConfig {
    LedgerConfig::default()
}

pub(super) fn report(worker: &str) -> WorkerReport {
    WorkerReport {
        worker: endpoint(worker),
        incarnation: 1,
        sequence: 1,
        capacity: Capacity { memory_mb: 1_000, promised_memory_mb: 1_000, milli_cpus: 4_000, max_slots: 100 },
        load: Load::default(),
        runtimes: vec![Runtime::Python { minor: 11 }],
        isolation: hearth_domain::Isolation::Jail,
        pooled: Vec::new(),
        cached_bundles: Vec::new(),
        slots: Vec::new(),
        draining: false,
    }
}

pub(super) fn seen(slot: SlotId, token: FencingToken, holder: &str, state: SlotState) -> SlotReport {
    SlotReport { slot, token, holder: holder_id(holder), function: function(128).function, memory_mb: 128, state }
}

pub(super) fn function(memory_mb: u32) -> FunctionSpec {
    FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").unwrap(),
            name: FunctionName::new("echo").unwrap(),
            version: Version::Latest,
            revision: RevisionId::new("r1").unwrap(),
        },
        region: "us-east-1".to_owned(),
        runtime: Runtime::Python { minor: 11 },
        handler: "main.handler".to_owned(),
        memory: MemorySize::new(memory_mb).unwrap(),
        timeout: Timeout::new(3).unwrap(),
        ephemeral_storage: EphemeralStorage::new(512).unwrap(),
        environment: BTreeMap::new(),
        bundle: BundleDigest([7; 32]),
        isolation: None,
        snap_start: false,
        provisioned: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        credentials: None,
    }
}

pub(super) fn endpoint(worker: &str) -> WorkerEndpoint {
    WorkerEndpoint { id: WorkerId::new(worker).unwrap(), url: Arc::from("") }
}

pub(super) fn holder_id(holder: &str) -> HolderId {
    HolderId::new(holder).unwrap()
}

pub(super) fn unreachable(not_sent: bool) -> Unreachable {
    Unreachable { role: "worker".to_owned(), reason: "connection reset".to_owned(), not_sent }
}

pub(super) fn init_failure() -> InitFailure {
    InitFailure {
        error_type: "Runtime.ImportModuleError".to_owned(),
        document: "{}".to_owned(),
        init_duration: Duration::from_millis(3),
        max_memory_used_bytes: 1,
        log_tail: Vec::new(),
    }
}
