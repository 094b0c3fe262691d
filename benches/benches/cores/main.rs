//! What is on the path of every call or of every slot, alone: so that a slowdown is seen at once. In processor time of this
//! thread, which a busy machine disturbs less than the wall clock's. `make bench-check` runs them beside those of the merge base.
//!
//!     cargo bench -p hearth-benches --bench cores
#![forbid(unsafe_code)]

mod cpu_time;

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use hearth_benches::cores::cluster::{Cluster, Settings};
use hearth_benches::cores::fixture;
use hearth_benches::cores::fleet::Fleet;
use hearth_domain::{FencingToken, LeaseTerms, Moment, SlotId, SlotOutcome};
use hearth_frontend::model;
use hearth_frontend::policy::{Context, Decision, Policies, Policy, PolicyKind, Principal, Request, evaluate};
use hearth_frontend::sigv4::{Claim, Credentials, PayloadHash, Verifier, sign};
use hearth_guest_protocol::Invoke;
use hearth_placement::ledger::LedgerConfig;
use hearth_protocol::worker_manager::{Completion, ConcurrencyLimits, Reservation, ReserveError, ReserveRequest};
use hearth_worker_manager::leases::Renewal;
use hearth_worker_manager::router::{Claim as SlotClaim, Outbox, Reserved, Router, RouterConfig, WaiterId};
use http::{HeaderMap, Method, Uri};

use cpu_time::CpuTime;

type Bench = Criterion<CpuTime>;

const NOW_UNIX_S: i64 = 1_767_225_600;
const PATH: &str = "/2015-03-31/functions/echo/invocations";

fn signature(bench: &mut Bench) {
    let credentials = Credentials {
        key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: None,
        region: "us-east-1".to_owned(),
    };
    let uri: Uri = format!("http://127.0.0.1:9000{PATH}").parse().expect("a URI");
    let mut headers = HeaderMap::new();
    sign(&credentials, NOW_UNIX_S, &Method::POST, &uri, &mut headers, b"\"hello\"").expect("it can be signed");
    let request = http::Request::post(PATH).body(()).expect("a request");
    let (mut parts, ()) = request.into_parts();
    parts.headers = headers;
    let verifier = Verifier::new(None);
    bench.bench_function("sigv4_check", |bencher| {
        bencher.iter(|| {
            let claim = Claim::read(black_box(&parts)).expect("a claim");
            verifier.admit(&claim, NOW_UNIX_S, "lambda", false).expect("it is of today");
            let computed = PayloadHash::of(b"\"hello\"");
            verifier.verify(&claim, &credentials.secret, &parts, computed).expect("it is right");
        });
    });
}

fn policy(bench: &mut Bench) {
    let text = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["lambda:Get*", "lambda:List*"], "Resource": "*"},
        {"Effect": "Deny", "Action": "lambda:DeleteFunction", "Resource": "*"},
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "arn:aws:lambda:*:000000000000:function:ec*",
         "Condition": {"StringEquals": {"aws:PrincipalAccount": "000000000000"}}}]}"#;
    let identity = [Policy::parse(text, PolicyKind::Identity).expect("a policy")];
    let arn = "arn:aws:iam::000000000000:user/caller".to_owned();
    let principal = Principal::User { account: "000000000000".to_owned(), arn };
    let context = Context::default().with("aws:PrincipalAccount", "000000000000");
    let request = Request {
        principal: &principal,
        action: "lambda:InvokeFunction",
        resource: "arn:aws:lambda:us-east-1:000000000000:function:echo",
        account: "000000000000",
        context: &context,
    };
    let policies = Policies { identity: &identity, ..Policies::default() };
    bench.bench_function("policy", |bencher| {
        bencher.iter(|| assert_eq!(evaluate(black_box(&request), policies), Decision::Allowed));
    });
}

fn model_check(bench: &mut Bench) {
    let request = http::Request::post(PATH).header("x-amz-log-type", "Tail").body(()).expect("a request");
    let (parts, ()) = request.into_parts();
    let operation = model::operation("Invoke").expect("the model has it");
    bench.bench_function("model_of_invoke", |bencher| {
        bencher.iter(|| model::check(operation, black_box(&parts), b"\"hello\"").expect("nothing is wrong with it"));
    });
}

fn frames(bench: &mut Bench) {
    let invoke = Invoke {
        request_id: "6f1c8e0a-3f0b-4e55-9a55-000000000001".to_owned(),
        payload: Bytes::from_static(&[b'x'; 1_024]),
        deadline_unix_ms: 1_767_225_600_000,
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:echo".to_owned(),
        ..Invoke::default()
    };
    let mut buffer = BytesMut::new();
    bench.bench_function("frame", |bencher| {
        bencher.iter(|| {
            hearth_guest_protocol::encode(black_box(&invoke), &mut buffer).expect("it fits");
            let decoded: Option<Invoke> = hearth_guest_protocol::decode(&mut buffer).expect("a frame");
            assert!(decoded.is_some());
        });
    });
}

fn reserve_complete(bench: &mut Bench) {
    const FUNCTIONS: u64 = 100;
    let specs: Vec<_> = (0..FUNCTIONS as usize).map(|n| fixture::function(n, 128, 3)).collect();
    let mut router = Router::new(RouterConfig::default());
    let grants = specs.iter().zip(1..).map(|(spec, slot)| fixture::grant(slot, spec)).collect();
    router.on_recovered(Moment::ORIGIN, Moment::ORIGIN, grants, &mut Nothing);
    router.on_tick(Moment::ORIGIN, &mut Nothing);
    let requests: Vec<_> = (0..1_000).map(fixture::request_id).collect();
    let mut n = 0_u64;
    bench.bench_function("reserve_complete", |bencher| {
        bencher.iter(|| {
            n += 1;
            let now = Moment::from_nanos(n % 1_000_000);
            let request_id = requests[(n % 1_000) as usize].clone();
            let request = ReserveRequest {
                request_id: request_id.clone(),
                function: specs[(n % FUNCTIONS) as usize].clone(),
                wait: Duration::from_secs(10),
                limits: ConcurrencyLimits::default(),
            };
            let Ok(Reserved::Now(reserved)) = router.on_reserve(now, request, &mut Nothing) else {
                panic!("a slot was not warm");
            };
            let (slot, token) = (reserved.slot, reserved.token);
            let completion = Completion { request_id, slot, token, outcome: SlotOutcome::Reusable };
            assert!(router.on_complete(now, &completion, &mut Nothing));
        });
    });
}

fn renewal(bench: &mut Bench) {
    const SLOTS: usize = 10_000;
    let hours = |count: u64| Duration::from_secs(3_600 * count);
    let every = Duration::from_secs(5);
    let terms = LeaseTerms::new(every, 3 * every, 4 * every);
    let ledger =
        LedgerConfig { terms, avoided_after: hours(100_000), lost_after: hours(200_000), ..LedgerConfig::default() };
    let mut router = RouterConfig { account_concurrency: u32::MAX, max_waiters: SLOTS, ..RouterConfig::default() };
    // Idle slots stay for as long as anybody measures.
    router.keep_alive.max = hours(50_000);
    router.keep_alive.default = hours(50_000);
    router.environment_life = hours(100_000);
    let mut cluster = Cluster::new(Settings {
        workers: SLOTS / 10,
        capacity: fixture::room_for(20),
        report_every: hours(90_000),
        ledger,
        router,
        functions: Vec::new(),
        seed: 1,
    });
    cluster.warm_up(SLOTS);
    cluster.run(2 * every);
    bench.bench_function("renew_10000_leases", |bencher| bencher.iter(|| cluster.run(every)));
    assert_eq!(cluster.fleet().slots(), SLOTS, "none has gone");
}

fn placement(bench: &mut Bench) {
    const WORKERS: usize = 10_000;
    let mut fleet = Fleet::new(LedgerConfig::default(), WORKERS, fixture::room_for(10));
    let mut leases = fleet.fill(Moment::ORIGIN, 5 * WORKERS);
    let specs: Vec<_> = (0..1_000).map(|n| fixture::function(n, fixture::MEMORY_MB, 3)).collect();
    let mut n = 0;
    bench.bench_function("place_and_end_with_10000_workers", |bencher| {
        bencher.iter(|| {
            n += 1;
            let claimed =
                fleet.claim(Moment::ORIGIN, (1 << 32) + n as u64, fixture::holder(), specs[n % 1_000].clone(), 1);
            claimed.expect("no other is open");
            for (worker, request) in std::mem::take(&mut fleet.sent.inits) {
                let place = n * 7_919 % leases.len();
                let before = std::mem::replace(&mut leases[place], (request.slot, request.token));
                fleet.made(Moment::ORIGIN, worker, request);
                fleet.release(Moment::ORIGIN, vec![before]);
                fleet.report(Moment::ORIGIN, n % WORKERS);
            }
            fleet.sent.outcomes.clear();
        });
    });
}

fn virtqueue(bench: &mut Bench) {
    let (_, block) = hearth_vmm::fuzzing::TARGETS.into_iter().find(|(name, _)| *name == "block").expect("it is there");
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../microvm/vmm/fuzz/seeds/block");
    let mut paths: Vec<_> = std::fs::read_dir(seeds).expect("seeds").map(|seed| seed.expect("a seed").path()).collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect();
    bench.bench_function("virtqueues_of_block_devices", |bencher| {
        bencher.iter(|| seeds.iter().for_each(|seed| block(black_box(seed))));
    });
}

/// Takes what the router sends; on the warm path that is nothing.
struct Nothing;

impl Outbox for Nothing {
    fn answer(&mut self, _: WaiterId, _: Result<Reservation, ReserveError>) {}
    fn claim(&mut self, _: SlotClaim) {}
    fn renew(&mut self, _: Renewal) {}
    fn release(&mut self, _: Vec<(SlotId, FencingToken)>) {}
}

fn measured() -> Bench {
    Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
}

criterion_group! {
    name = cores;
    config = measured();
    targets = signature, policy, model_check, frames, reserve_complete, renewal, placement, virtqueue
}
criterion_main!(cores);
