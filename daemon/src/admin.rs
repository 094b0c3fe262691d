//! The admin port: `GET /live`, `/ready`, `/metrics`. For the machine's operator, not for callers of functions.
//!
//! Bounded, so that whoever reaches it can't use up the role's descriptors or memory: at most [`CONNECTIONS_MAX`]
//! connections, each for one request and for at most [`CONNECTION_TIME_MAX`]. More wait in the listener's backlog.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::{Registry, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::Readiness;

/// Connections served at a time: probes and scrapers are few.
pub const CONNECTIONS_MAX: usize = 64;
/// Longest time for the head of a request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of a connection, from accept to the last byte of its answer.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest that requests under way hold up the end of the role.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Largest head of a request, bytes.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Pause after an accept that failed: descriptors have run out, and the next try would fail, too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Prometheus's text format (prometheus.io, "Exposition formats").
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the admin port until `shutdown` resolves and the requests under way are answered, at most [`DRAIN_MAX`] later.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    registry: Registry,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready).with_state(readiness))
        .route("/metrics", get(metrics).with_state(registry));
    let (permits, connections) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), TaskTracker::new());
    tokio::pin!(shutdown);
    loop {
        let (stream, permit) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let connection = connection(stream, routes.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    if timeout(DRAIN_MAX, connections.wait()).await.is_err() {
        debug!(open = connections.len(), "connections to the admin port are left to end with the process");
    }
    Ok(())
}

/// The next connection and its permit.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                warn!(%error, "accept on the admin port failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer.
async fn connection(stream: TcpStream, routes: Router) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_MAX_BYTES).keep_alive(false);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    match timeout(CONNECTION_TIME_MAX, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "connection to the admin port ended"),
        Err(_) => debug!("connection to the admin port took too long"),
    }
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let unmet = readiness.unmet();
    if unmet.is_empty() {
        return "ready\n".into_response();
    }
    let told: String = unmet.iter().map(|(name, reason)| format!("{name}: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, told).into_response()
}

async fn metrics(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Status line and body of a GET.
    async fn get(listener: std::net::SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(listener).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn tells_life_readiness_and_metrics_and_ends_when_asked() {
        let (readiness, registry) = (Readiness::new(), Registry::new());
        let pool = readiness.condition("pool", "0 of 2 sandboxes are up");
        let counter = IntCounter::new("hearth_test_total", "A test.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, readiness, registry, stop.clone().cancelled_owned()));

        assert_eq!(get(address, "/live").await, ("HTTP/1.1 200 OK".into(), "live\n".into()));
        let waiting = ("HTTP/1.1 503 Service Unavailable".into(), "pool: 0 of 2 sandboxes are up\n".into());
        assert_eq!(get(address, "/ready").await, waiting);
        pool.met();
        assert_eq!(get(address, "/ready").await, ("HTTP/1.1 200 OK".into(), "ready\n".into()));
        let (_, metrics) = get(address, "/metrics").await;
        assert!(metrics.contains("\nhearth_test_total 1\n"), "{metrics}");
        assert_eq!(get(address, "/other").await.0, "HTTP/1.1 404 Not Found");
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    /// Serves in the background for the rest of the test.
    async fn served() -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let stopped = stop.clone().cancelled_owned();
        (address, stop, tokio::spawn(serve(listener, Readiness::new(), Registry::new(), stopped)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_ends_its_connection() {
        let (address, _stop, _server) = served().await;
        let began = tokio::time::Instant::now();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /live HTTP/1.1\r\nhost:").await.unwrap();
        let mut answer = Vec::new();
        slow.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"", "half a request was answered");
        assert!((HEAD_TIMEOUT..CONNECTION_TIME_MAX).contains(&began.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_above_the_bound_wait_for_one_to_end() {
        let (address, stop, server) = served().await;
        let began = tokio::time::Instant::now();
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(get(address, "/live").await.1, "live\n");
        assert!(began.elapsed() >= HEAD_TIMEOUT, "more connections than the bound were served at a time");
        silent.push(TcpStream::connect(address).await.unwrap());
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_is_for_one_request() {
        let (address, _stop, _server) = served().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    }
}
