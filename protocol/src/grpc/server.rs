//! Serves the roles of one process on one listener.

use std::future::Future;
use std::sync::Arc;

use hearth_domain::timing::{CONNECTION_PING_INTERVAL, CONNECTION_PING_TIMEOUT};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::{CONNECTION_MAX_CALLS, CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, placement, worker, worker_manager};
use crate::{Placement, Worker, WorkerManager};

/// The roles that a process offers to others.
#[derive(Clone, Default)]
pub struct Roles {
    /// The worker manager, if it is here.
    pub worker_manager: Option<Arc<dyn WorkerManager>>,
    /// Placement, if it is here.
    pub placement: Option<Arc<dyn Placement>>,
    /// The worker, if it is here.
    pub worker: Option<Arc<dyn Worker>>,
}

/// The server ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC server ended: {source}")]
pub struct ServeError {
    /// Why.
    pub source: tonic::transport::Error,
}

/// Serves until `shutdown` resolves and every call under way is answered. Whoever calls bounds that wait (a client may
/// keep a call open as long as it likes) by dropping the future.
pub async fn serve(listener: TcpListener, roles: Roles, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .max_concurrent_streams(CONNECTION_MAX_CALLS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(CONNECTION_PING_INTERVAL))
        .http2_keepalive_timeout(Some(CONNECTION_PING_TIMEOUT))
        .add_optional_service(roles.worker_manager.map(worker_manager::service))
        .add_optional_service(roles.placement.map(placement::service))
        .add_optional_service(roles.worker.map(worker::service))
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
        .map_err(|source| ServeError { source })
}
