//! Each trait over a real loopback connection, with a recording fake behind it: what the caller gave arrives, what
//! the fake answers comes back, and failures of the connection are told as what they are.

#[path = "loopback/fakes.rs"]
mod fakes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fakes::*;
use futures::StreamExt;
use hearth_domain::limits::{SYNC_REQUEST_MAX_BYTES, SYNC_RESPONSE_MAX_BYTES};
use hearth_domain::stream::STREAM_CHUNK_MAX_BYTES;
use hearth_domain::{FunctionResponse, SlotOutcome};
use hearth_protocol::grpc::{GrpcDirectory, PlacementClient, Roles, WorkerClient, WorkerManagerClient, serve};
use hearth_protocol::placement::{ClaimOutcome, ClaimRequest, RenewRequest};
use hearth_protocol::worker::{InvokeError, StreamPiece, response_stream};
use hearth_protocol::worker_manager::{
    Completion, ConcurrencyLimits, Provision, ProvisionTarget, ReserveError, ReserveRequest,
};
use hearth_protocol::{LocalDirectory, Placement, Unreachable, Worker, WorkerDirectory, WorkerEndpoint, WorkerManager};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server on a port of its own.
struct Server {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(roles: Roles) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), roles)
    }

    fn on(listener: TcpListener, roles: Roles) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let task = tokio::spawn(async move { serve(listener, roles, shutdown).await.unwrap() });
        Self { url, stop: Some(stop), task }
    }

    async fn worker(worker: &Arc<RecordingWorker>) -> (Self, WorkerClient) {
        let server = Self::start(Roles { worker: Some(worker.clone()), ..Roles::default() }).await;
        let client = WorkerClient::new(&server.url).unwrap();
        (server, client)
    }

    fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }
}

/// No test waits longer than this for anything.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it did not happen in time")
}

#[tokio::test]
async fn worker_manager_over_the_wire() {
    let manager = Arc::new(RecordingManager::unreachable("it is down".into()));
    let server = Server::start(Roles { worker_manager: Some(manager.clone()), ..Roles::default() }).await;
    let client = WorkerManagerClient::new(&server.url).unwrap();
    let limits = ConcurrencyLimits { account: Some(9), reserved: Some(3), provisioned: 1, set_aside: 3 };
    let wait = Duration::from_millis(7);
    let request = ReserveRequest { request_id: request_id("r-1"), function: spec(), wait, limits };
    assert_eq!(client.reserve(request.clone()).await.unwrap(), reservation());
    let refused = ReserveRequest { request_id: request_id("refuse"), ..request };
    let limit = ReserveError::ConcurrencyLimit { account: account(), limit: 3 };
    assert_eq!(client.reserve(refused).await.unwrap_err(), limit);
    let completion = Completion {
        request_id: request_id("r-1"),
        slot: reservation().slot,
        token: reservation().token,
        outcome: SlotOutcome::Gone,
    };
    client.complete(completion.clone()).await.unwrap();
    let targets = vec![ProvisionTarget { function: spec(), count: 2 }];
    let report = client.provision(Provision { targets }).await.unwrap();
    assert_eq!((report.functions[0].allocated, report.functions[0].failure.as_deref()), (2, Some("none fits")));
    let needs_placement = Unreachable { role: "placement".into(), reason: "it is down".into(), not_sent: true };
    assert_eq!(client.fleet().await.unwrap_err(), needs_placement);
    let expected = [
        format!("reserve r-1 {:?} 7ms", spec()),
        format!("reserve refuse {:?} 7ms", spec()),
        format!("{completion:?}"),
    ];
    assert_eq!(manager.heard(), expected);
}

/// The reason of an `Unreachable` travels in headers, which have bounds of their own.
#[tokio::test]
async fn a_long_reason_arrives_cut_and_not_as_another_failure() {
    let manager = Arc::new(RecordingManager::unreachable("ä".repeat(100_000)));
    let server = Server::start(Roles { worker_manager: Some(manager), ..Roles::default() }).await;
    let error = WorkerManagerClient::new(&server.url).unwrap().fleet().await.unwrap_err();
    assert_eq!((error.role.as_str(), error.reason), ("placement", "ä".repeat(1024)));
}

#[tokio::test]
async fn placement_streams_each_outcome_when_it_is_known() {
    let placement = Arc::new(RecordingPlacement::default());
    let server = Server::start(Roles { placement: Some(placement.clone()), ..Roles::default() }).await;
    let client = PlacementClient::new(&server.url).unwrap();
    let request = ClaimRequest { id: "c-1".parse().unwrap(), holder: holder(), function: spec(), count: 2 };
    let mut outcomes = client.claim(request).await.unwrap();
    let sender = placement.outcomes();
    sender.send(ClaimOutcome::Granted(grant())).unwrap();
    // The first arrives although the second is not known yet.
    assert_eq!(soon(outcomes.next()).await, Some(ClaimOutcome::Granted(grant())));
    sender.send(ClaimOutcome::NoCapacity { reason: "full".into(), full: true }).unwrap();
    assert_eq!(soon(outcomes.next()).await, Some(ClaimOutcome::NoCapacity { reason: "full".into(), full: true }));
    drop(sender);
    placement.end_claim();
    assert_eq!(soon(outcomes.next()).await, None);

    let lease = (grant().slot, grant().token);
    let renewed = client.renew(RenewRequest { holder: holder(), leases: vec![lease, lease] }).await.unwrap();
    assert_eq!(renewed, renew_response());
    assert_eq!(client.recover(holder()).await.unwrap(), vec![grant()]);
    let fleet = client.fleet().await.unwrap();
    assert_eq!(fleet, vec![fleet_worker()]);
    assert_eq!(client.report(fleet_worker().report).await.unwrap().reclaim, vec![lease]);
    assert_eq!(placement.heard().len(), 4);
}

#[tokio::test]
async fn a_claim_whose_server_goes_away_ends_early() {
    let placement = Arc::new(RecordingPlacement::default());
    let server = Server::start(Roles { placement: Some(placement.clone()), ..Roles::default() }).await;
    let client = PlacementClient::new(&server.url).unwrap();
    let request = ClaimRequest { id: "c-1".parse().unwrap(), holder: holder(), function: spec(), count: 2 };
    let mut outcomes = client.claim(request).await.unwrap();
    placement.outcomes().send(ClaimOutcome::Granted(grant())).unwrap();
    assert!(soon(outcomes.next()).await.is_some());
    placement.break_claim();
    assert_eq!(soon(outcomes.next()).await, None);
}

#[tokio::test]
async fn worker_over_the_wire_with_the_largest_payloads() {
    let worker = Arc::new(RecordingWorker::default());
    let (_server, client) = Server::worker(&worker).await;
    let payload = Bytes::from(vec![b'x'; SYNC_REQUEST_MAX_BYTES]);
    let response = soon(client.invoke(invoke("large", payload))).await.unwrap();
    let FunctionResponse::Success(document) = &response.response else { panic!("{response:?}") };
    assert_eq!(document.len(), SYNC_RESPONSE_MAX_BYTES);
    let stale = client.invoke(invoke("stale", Bytes::new())).await.unwrap_err();
    assert!(matches!(&stale, InvokeError::StaleSlot { reason, .. } if reason == "newer token") && stale.not_started());
    assert_eq!(client.init_slot(init_slot()).await.unwrap(), init_done());
    client.reclaim(vec![(grant().slot, grant().token)]).await.unwrap();
    assert_eq!(worker.heard(), ["invoke large", "invoke stale", "init_slot", "reclaim 1"]);
}

#[tokio::test]
async fn a_streamed_answer_comes_in_its_pieces_and_then_ends() {
    let worker = Arc::new(RecordingWorker::default());
    let (_server, client) = Server::worker(&worker).await;
    let (sender, mut pieces) = response_stream();
    let call = tokio::spawn(async move { client.invoke_streaming(invoke("streamed", Bytes::new()), sender).await });
    assert_eq!(soon(pieces.next()).await, Some(StreamPiece::Start { content_type: "text/plain".into() }));
    let piece = StreamPiece::Chunk(vec![b'z'; STREAM_CHUNK_MAX_BYTES].into());
    for _ in 0..STREAMED_PIECES {
        assert_eq!(soon(pieces.next()).await, Some(piece.clone()));
    }
    assert_eq!(soon(pieces.next()).await, None);
    let response = soon(call).await.unwrap().unwrap();
    assert_eq!(response.response, FunctionResponse::Success("{}".into()));
}

#[tokio::test]
async fn answers_that_nobody_takes_hold_no_other_call_up() {
    let worker = Arc::new(RecordingWorker::default());
    let (_server, client) = Server::worker(&worker).await;
    let mut held = Vec::new();
    // Each leaves as much lying as its windows hold: more, all together, than those of one connection.
    for _ in 0..32 {
        let (sender, mut pieces) = response_stream();
        let client = client.clone();
        let call = async move { client.invoke_streaming(invoke("streamed", Bytes::new()), sender).await };
        let call = tokio::spawn(call);
        assert!(soon(pieces.next()).await.is_some());
        held.push((pieces, call));
    }
    for _ in 0..4 {
        assert!(soon(client.invoke(invoke("large", Bytes::new()))).await.is_ok());
    }
    for (mut pieces, call) in held {
        while soon(pieces.next()).await.is_some() {}
        assert!(soon(call).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_caller_that_leaves_a_stream_does_not_hold_the_role_up() {
    let worker = Arc::new(RecordingWorker::default());
    let (_server, client) = Server::worker(&worker).await;
    let (sender, pieces) = response_stream();
    drop(pieces);
    assert!(soon(client.invoke_streaming(invoke("streamed", Bytes::new()), sender)).await.is_ok());
    let (sender, _pieces) = response_stream();
    let stale = soon(client.invoke_streaming(invoke("stale", Bytes::new()), sender)).await;
    assert!(matches!(stale, Err(InvokeError::StaleSlot { .. })));
    assert_eq!(worker.heard(), ["invoke streamed", "invoke stale"]);
}

#[tokio::test]
async fn a_request_above_the_limit_is_refused_by_name_and_does_not_reach_the_role() {
    let worker = Arc::new(RecordingWorker::default());
    let (_server, client) = Server::worker(&worker).await;
    let payload = Bytes::from(vec![b'x'; SYNC_REQUEST_MAX_BYTES + 1]);
    let error = soon(client.invoke(invoke("too-large", payload))).await.unwrap_err();
    assert!(error.to_string().contains("payload: 6291457 bytes are more than 6291456"), "{error}");
    assert_eq!(worker.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn nobody_listening_is_certainly_not_sent_and_the_same_client_connects_later() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = WorkerClient::new(&format!("http://{port}")).unwrap();
    for _ in 0..2 {
        let error = soon(client.invoke(invoke("early", Bytes::new()))).await.unwrap_err();
        assert!(error.not_started(), "{error:?}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
    let worker = Arc::new(RecordingWorker::default());
    let roles = Roles { worker: Some(worker.clone()), ..Roles::default() };
    let _server = Server::on(TcpListener::bind(port).await.unwrap(), roles);
    assert!(soon(client.invoke(invoke("later", Bytes::new()))).await.is_ok());
    assert_eq!(worker.heard(), ["invoke later"]);
}

#[tokio::test]
async fn a_connection_that_breaks_during_a_call_proves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = WorkerClient::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    // Accepts, lets the client speak, hangs up.
    let rude = async {
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
    };
    let (error, ()) = soon(async { tokio::join!(client.invoke(invoke("cut", Bytes::new())), rude) }).await;
    let error = error.unwrap_err();
    assert!(matches!(&error, InvokeError::Unreachable(unreachable) if !unreachable.not_sent), "{error:?}");
}

#[tokio::test]
async fn shutdown_waits_for_the_call_under_way() {
    let worker = Arc::new(RecordingWorker::default());
    let (mut server, client) = Server::worker(&worker).await;
    let call = tokio::spawn(async move { client.invoke(invoke("held", Bytes::new())).await });
    soon(worker.holding()).await;
    server.ask_to_stop();
    worker.let_go();
    assert!(soon(call).await.unwrap().is_ok());
    soon(server.task).await.unwrap();
}

#[tokio::test]
async fn dropping_a_call_drops_it_at_the_role() {
    let worker = Arc::new(RecordingWorker::default());
    let (_server, client) = Server::worker(&worker).await;
    let call = tokio::spawn(async move { client.invoke(invoke("held", Bytes::new())).await });
    soon(worker.holding()).await;
    call.abort();
    soon(worker.dropped()).await;
}

#[tokio::test]
async fn directories_find_their_workers_and_tell_of_missing_ones() {
    let worker = Arc::new(RecordingWorker::default());
    let (server, _) = Server::worker(&worker).await;
    let remote = WorkerEndpoint { id: grant().worker.id, url: server.url.as_str().into() };
    let grpc = GrpcDirectory::new();
    for _ in 0..2 {
        assert!(soon(grpc.worker(&remote).invoke(invoke("found", Bytes::new()))).await.is_ok());
    }
    let local = LocalDirectory::new();
    local.put(remote.id.clone(), worker.clone());
    assert!(local.worker(&remote).invoke(invoke("local", Bytes::new())).await.is_ok());
    local.remove(&remote.id);
    for missing in [local.worker(&remote), grpc.worker(&WorkerEndpoint { url: "".into(), ..remote.clone() })] {
        assert!(missing.invoke(invoke("lost", Bytes::new())).await.unwrap_err().not_started());
    }
    assert_eq!(worker.heard(), ["invoke found", "invoke found", "invoke local"]);
}

#[test]
fn urls_that_no_role_answers_under_are_refused() {
    for url in ["", "localhost", "https://localhost:1", "http://localhost", "http://", "unix:/socket"] {
        assert!(WorkerClient::new(url).is_err(), "{url:?} was taken");
    }
}
