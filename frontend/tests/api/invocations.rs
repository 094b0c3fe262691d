//! Invoke, from reply headers to the last way it can fail.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_domain::{SlotId, SlotOutcome, StartTimes};
use hearth_frontend::Config;
use hearth_protocol::Unreachable;
use hearth_protocol::worker::InvokeError;
use hearth_protocol::worker_manager::{AwaitedStart, ReserveError};
use serde_json::json;

use crate::fleet::{Fleet, init_failure};
use crate::platform::{Platform, account, create_request};

#[tokio::test]
async fn a_call_is_answered_with_lambdas_headers_and_one_id_everywhere() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let context = STANDARD.encode(r#"{"client":{}}"#);
    let headers =
        [("x-amz-log-type", "Tail"), ("x-amz-client-context", context.as_str()), ("x-amzn-trace-id", "Root=1-2-3")];
    let reply = platform.invoke("echo", &headers, br#"{"a": 1}"#).await;
    assert_eq!((reply.status, &reply.bytes[..]), (200, &br#"{"a": 1}"#[..]));
    assert_eq!(reply.header("x-amz-executed-version"), "$LATEST");
    assert_eq!(reply.header("x-amz-function-error"), "");
    let id = reply.header("x-amzn-requestid");
    let log = String::from_utf8(STANDARD.decode(reply.header("x-amz-log-result")).unwrap()).unwrap();
    assert_eq!(log, format!("START RequestId: {id}\n"));
    let invoked = platform.fleet.invoked.lock().unwrap()[0].clone();
    assert_eq!(invoked.request_id.as_str(), id);
    assert_eq!(invoked.invoked_arn, "arn:aws:lambda:us-east-1:000000000000:function:echo");
    assert_eq!(invoked.client_context.as_deref(), Some(r#"{"client":{}}"#));
    assert_eq!(invoked.trace_id.as_deref(), Some("Root=1-2-3"));
    let completed = platform.fleet.completed.lock().unwrap()[0].clone();
    assert_eq!((completed.request_id.as_str(), completed.outcome), (id, SlotOutcome::Reusable));
    assert_eq!(reply.header("x-amzn-trace-id"), "Root=1-2-3");
    let qualified = platform.invoke("echo:$LATEST", &[], b"").await;
    assert_eq!(&qualified.bytes[..], b"{}");
    let trace = qualified.header("x-amzn-trace-id");
    assert!(trace.starts_with("Root=1-") && trace.ends_with(";Sampled=0") && trace.len() == 50, "{trace}");
    assert_eq!(platform.fleet.invoked.lock().unwrap()[1].trace_id.as_deref(), Some(trace));
    let arn = platform.fleet.invoked.lock().unwrap()[1].invoked_arn.clone();
    assert_eq!(arn, "arn:aws:lambda:us-east-1:000000000000:function:echo:$LATEST");
}

#[tokio::test]
async fn who_asks_is_told_where_the_time_went() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let names = async |headers: &[(&str, &str)]| {
        let told = platform.invoke("echo", headers, b"{}").await.header("server-timing").to_owned();
        told.split(", ").filter_map(|part| Some(part.split_once(";dur=")?.0.to_owned())).collect::<Vec<_>>()
    };
    assert!(names(&[]).await.is_empty() && names(&[("x-hearth-timing", "0")]).await.is_empty());
    let asks = [("x-hearth-timing", "1")];
    assert_eq!(names(&asks).await, ["admit", "route", "dispatch", "handler", "reply"]);
    // Much longer than the call takes: what is told stays within what was measured here.
    let hour = Duration::from_secs(3_600);
    let times = StartTimes { from_pool: true, sandbox: hour, attach: hour, init: hour };
    *platform.fleet.start.lock().unwrap() = Some(AwaitedStart { awaited: hour, times });
    assert_eq!(names(&asks).await, ["admit", "route", "init", "dispatch", "handler", "reply"]);
    *platform.fleet.start.lock().unwrap() = None;
    platform.fleet.refusals.lock().unwrap().push_back(init_failure());
    assert_eq!(names(&asks).await, ["admit", "route", "init", "reply"], "an init that failed");
    let dry = [("x-hearth-timing", "1"), ("x-amz-invocation-type", "DryRun")];
    assert!(names(&dry).await.is_empty(), "no function answered");
}

#[tokio::test]
async fn function_errors_are_answers() {
    let platform = Platform::start().await;
    platform.create("fails", "fail").await;
    let failed = platform.invoke("fails", &[], b"{}").await;
    assert_eq!((failed.status, failed.header("x-amz-function-error")), (200, "Unhandled"));
    assert_eq!(failed.json()["errorType"], "ValueError");
    platform.fleet.refusals.lock().unwrap().push_back(init_failure());
    let init = platform.invoke("fails", &[("x-amz-log-type", "Tail")], b"{}").await;
    assert_eq!((init.status, init.header("x-amz-function-error")), (200, "Unhandled"));
    assert_eq!(init.json()["errorType"], "Runtime.ImportModuleError");
    assert_eq!(STANDARD.decode(init.header("x-amz-log-result")).unwrap(), b"INIT failed");
    platform.create("large", "large").await;
    let large = platform.invoke("large", &[], b"{}").await;
    assert_eq!((large.status, large.header("x-amz-function-error")), (200, "Unhandled"));
    let expected = json!({
        "errorMessage": "Response payload size (7340032 bytes) exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    });
    assert_eq!(large.json(), expected);
    assert_eq!(platform.fleet.open_slots(), 0);
}

#[tokio::test]
async fn bad_calls_never_reach_a_worker() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let error =
        async |headers: &[(&str, &str)], payload: &[u8]| platform.invoke("echo", headers, payload).await.error();
    for payload in [&b"{"[..], b"nope", b"{} {}", b"\"\xff\"", b"{\"a\":}"] {
        let (status, code, text) = error(&[], payload).await;
        assert_eq!((status, code.as_str()), (400, "InvalidRequestContentException"));
        assert!(text.starts_with("Could not parse request body into json: "), "{text}");
    }
    let large = vec![b'1'; 6 * 1024 * 1024 + 1];
    let (status, code, text) = error(&[], &large).await;
    assert_eq!((status, code.as_str()), (413, "RequestEntityTooLargeException"));
    assert_eq!(text, "Request must be smaller than 6291456 bytes for the InvokeFunction operation");
    assert_eq!(platform.invoke("echo", &[], &large[1..]).await.status, 200);
    platform.fleet.invoked.lock().unwrap().clear();
    let (status, code, text) = error(&[("x-amz-invocation-type", "Event")], &large[..1024 * 1024 + 1]).await;
    assert_eq!((status, code.as_str()), (413, "RequestTooLargeException"));
    assert_eq!(text, "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)");
    let (status, code, text) = error(&[("x-amz-invocation-type", "Later"), ("x-amz-log-type", "All")], b"{}").await;
    assert_eq!((status, code.as_str()), (400, "ValidationException"));
    assert!(text.starts_with("2 validation errors detected: Value 'Later' at 'invocationType'"), "{text}");
    assert_eq!(error(&[("x-amz-client-context", "!")], b"{}").await.1, "InvalidRequestContentException");
    let missing = platform.invoke("nobody", &[], b"{}").await.error();
    assert_eq!(missing.2, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:$LATEST");
    assert!(platform.fleet.invoked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn deeply_nested_payloads_are_json_too() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(platform.invoke("echo", &[], deep.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_dry_run_runs_nothing_and_an_event_is_stored() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let dry = platform.invoke("echo", &[("x-amz-invocation-type", "DryRun")], b"{}").await;
    assert_eq!((dry.status, dry.bytes.len()), (204, 0));
    assert!(platform.fleet.invoked.lock().unwrap().is_empty());
    let accepted = platform.invoke("echo", &[("x-amz-invocation-type", "Event")], b"{\"n\":1}").await;
    assert_eq!((accepted.status, accepted.bytes.len()), (202, 0));
    assert!(accepted.headers.get("x-amz-executed-version").is_none());
}

#[tokio::test]
async fn a_pending_function_is_not_invoked() {
    let fleet = Fleet::new();
    *fleet.reachable.lock().unwrap() = false;
    let platform = Platform::with(Config::default(), fleet).await;
    let created = platform.call("POST", "/2015-03-31/functions", &create_request("echo", "app.handler")).await;
    assert_eq!(created.status, 201);
    let (status, code, text) = platform.invoke("echo", &[], b"{}").await.error();
    assert_eq!((status, code.as_str()), (409, "ResourceConflictException"));
    assert!(text.ends_with("The function is currently in the following state: Pending"), "{text}");
    *platform.fleet.reachable.lock().unwrap() = true;
    platform.settled("echo").await;
    assert_eq!(platform.invoke("echo", &[], b"{}").await.status, 200);
}

#[tokio::test]
async fn a_call_that_did_not_start_is_tried_on_other_slots() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let stale = || InvokeError::StaleSlot { slot: SlotId(1), reason: "fenced".into() };
    let unsent =
        || InvokeError::Unreachable(Unreachable { role: "worker".into(), reason: "refused".into(), not_sent: true });
    platform.fleet.failures.lock().unwrap().extend([stale(), InvokeError::Busy { slot: SlotId(2) }, unsent()]);
    assert_eq!(platform.invoke("echo", &[], b"{}").await.status, 200);
    let outcomes: Vec<_> = platform.fleet.completed.lock().unwrap().iter().map(|c| c.outcome).collect();
    assert_eq!(outcomes, [SlotOutcome::Gone, SlotOutcome::Gone, SlotOutcome::Unreachable, SlotOutcome::Reusable]);
    // One that may have run is never tried again.
    let broken = Unreachable { role: "worker".into(), reason: "the connection broke".into(), not_sent: false };
    for failure in [InvokeError::WorkerFailed { reason: "crashed".into() }, InvokeError::Unreachable(broken)] {
        platform.fleet.failures.lock().unwrap().push_back(failure);
        let (invoked, completed) = platform.fleet.counts();
        assert_eq!(platform.invoke("echo", &[], b"{}").await.error().0, 500);
        assert_eq!(platform.fleet.counts(), (invoked, completed + 1));
        assert_eq!(platform.fleet.completed.lock().unwrap()[completed].outcome, SlotOutcome::Gone);
    }
    assert_eq!(platform.fleet.open_slots(), 0);
}

#[tokio::test]
async fn a_dead_worker_with_many_idle_slots_costs_a_call_one_try() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    platform.fleet.dies("worker-2", 50);
    assert_eq!(platform.invoke("echo", &[], b"{}").await.status, 200);
    let outcomes: Vec<_> = platform.fleet.completed.lock().unwrap().iter().map(|c| c.outcome).collect();
    assert_eq!(outcomes, [SlotOutcome::Unreachable, SlotOutcome::Reusable]);
    assert_eq!(platform.fleet.open_slots(), 0);
}

#[tokio::test]
async fn calls_that_meet_a_dead_worker_together_are_all_answered() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    platform.fleet.dies("worker-2", 50);
    let calls = (0..60).map(|_| platform.invoke("echo", &[], b"{}"));
    let replies = futures::future::join_all(calls).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(platform.fleet.invoked.lock().unwrap().len(), 60, "each call ran once");
    assert_eq!(platform.fleet.open_slots(), 0);
}

#[tokio::test]
async fn a_restarted_worker_with_many_stale_slots_fails_no_call() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let stale = |slot| InvokeError::StaleSlot { slot: SlotId(slot), reason: "there is none".into() };
    platform.fleet.failures.lock().unwrap().extend((1..=50).map(stale));
    assert_eq!(platform.invoke("echo", &[], b"{}").await.status, 200);
    assert_eq!(platform.fleet.counts(), (1, 51));
    assert_eq!(platform.fleet.open_slots(), 0);
}

#[tokio::test]
async fn a_call_that_nothing_could_start_is_told_that_the_service_is_unavailable() {
    let config = Config { capacity_wait: Duration::from_millis(100), ..Config::default() };
    let platform = Platform::with(config, Fleet::new()).await;
    platform.create("echo", "app.handler").await;
    // More than can be tried in that time.
    let stale = InvokeError::StaleSlot { slot: SlotId(1), reason: "there is none".into() };
    platform.fleet.failures.lock().unwrap().extend(vec![stale; 100_000]);
    let reply = platform.invoke("echo", &[], b"{}").await;
    assert_eq!((reply.status, reply.header("x-amzn-errortype")), (503, "ServiceUnavailableException"));
    let body = json!({ "Type": "Service", "Message": "The platform can't be reached right now. Try again." });
    assert_eq!(reply.json(), body);
    assert_eq!((platform.fleet.counts().0, platform.fleet.open_slots()), (0, 0));
    let tried = platform.fleet.counts().1;
    assert!(tried < 100, "{tried} slots were used up in a tenth of a second");
}

#[tokio::test]
async fn refusals_of_the_worker_manager_are_told_in_lambdas_words() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let refuse = async |refusal: ReserveError| {
        platform.fleet.refusals.lock().unwrap().push_back(refusal);
        platform.invoke("echo", &[], b"{}").await
    };
    let throttled = refuse(ReserveError::ConcurrencyLimit { account: account(), limit: 1_000 }).await;
    assert_eq!((throttled.status, throttled.header("x-amzn-errortype")), (429, "TooManyRequestsException"));
    assert_eq!(throttled.header("retry-after"), "1");
    let body = json!({ "Type": "User", "message": "Rate Exceeded.", "Reason": "ConcurrentInvocationLimitExceeded" });
    assert_eq!(throttled.json(), body);
    assert_eq!(refuse(ReserveError::QueueFull { waiting: 9 }).await.status, 429);
    let full = refuse(ReserveError::NoCapacity { waited: Duration::from_secs(1), reason: "all full".into() }).await;
    assert_eq!((full.status, full.header("x-amzn-errortype")), (503, "ServiceUnavailableException"));
    assert!(full.error().2.contains("all full"));
}

#[tokio::test]
async fn a_worker_manager_that_restarts_is_waited_for() {
    let config = Config { capacity_wait: Duration::from_secs(10), ..Config::default() };
    let platform = Platform::with(config, Fleet::new()).await;
    platform.create("echo", "app.handler").await;
    *platform.fleet.reachable.lock().unwrap() = false;
    let (reply, ()) = tokio::join!(platform.invoke("echo", &[], b"{}"), async {
        tokio::task::yield_now().await;
        *platform.fleet.reachable.lock().unwrap() = true;
    });
    assert_eq!(reply.status, 200);
    *platform.fleet.reachable.lock().unwrap() = false;
    let impatient = Config { capacity_wait: Duration::from_millis(30), ..Config::default() };
    let fleet = Fleet::new();
    let platform = Platform::with(impatient, fleet.clone()).await;
    platform.create("echo", "app.handler").await;
    *fleet.reachable.lock().unwrap() = false;
    assert_eq!(platform.invoke("echo", &[], b"{}").await.error().0, 503);
}

#[tokio::test]
async fn a_slow_worker_manager_holds_no_answer_back() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    *platform.fleet.hold_completions.lock().unwrap() = true;
    assert_eq!(platform.invoke("echo", &[], b"{}").await.status, 200);
    assert_eq!(platform.fleet.open_slots(), 1);
    platform.fleet.release.notify_one();
    assert!(platform.frontend.shutdown(Duration::from_secs(10)).await);
    assert_eq!(platform.fleet.open_slots(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_leaves_no_slot_behind() {
    let platform = Platform::start().await;
    platform.create("holds", "hold").await;
    let started = platform.fleet.started.notified();
    let call = platform.invoke("holds", &[], b"{}");
    tokio::select! {
        _ = call => panic!("the call must be held"),
        () = started => {}
    }
    assert_eq!(platform.fleet.open_slots(), 1);
    platform.fleet.release.notify_one();
    let completed = async {
        while platform.fleet.open_slots() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), completed).await.expect("the slot is completed");
}
