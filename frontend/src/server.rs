//! Connections: bounded in number and in how slow they may be, and drained at shutdown.

mod stall;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::{debug, warn};

use crate::Config;
use crate::metrics::Metrics;
use stall::StallGuard;

/// Largest head of a request, bytes: a client context of 3,583 bytes in base64, a signature, and room.
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 128;
/// Pause after an accept that failed: descriptors have run out, and the next try would fail, too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Serves connections until `stop`, then closes the listener, lets requests under way finish and closes idle
/// connections. `connections` tracks them; wait on it for the end of the last.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: &Config,
    metrics: Metrics,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let timeouts = Timeouts { head: config.head_timeout, stall: config.stall_timeout };
    while let Some((stream, peer, permit)) = stop.run_until_cancelled(accept(&listener, &permits)).await {
        let connection = connection((stream, peer), router.clone(), timeouts, stop.clone());
        let open = metrics.connections.clone();
        open.inc();
        connections.spawn(async move {
            connection.await;
            open.dec();
            drop(permit);
        });
    }
}

/// How slow a client may be.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    head: Duration,
    stall: Duration,
}

/// The next connection and its permit. Above the bound connections wait in the backlog.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    router: Router,
    timeouts: Timeouts,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    // Answers are small and awaited: Nagle would only hold them back.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut router = router.clone();
        async move {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            Ok::<_, Infallible>(match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            })
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .max_buf_size(HEAD_MAX_BYTES)
        .max_headers(HEADERS_MAX);
    let connection = builder.serve_connection(TokioIo::new(StallGuard::new(stream, timeouts.stall)), service);
    async move {
        tokio::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            debug!(%error, "connection ended");
        }
    }
}
