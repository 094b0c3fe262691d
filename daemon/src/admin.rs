//! The admin port: `GET /live`, `/ready`, `/metrics`. For the machine's operator, not for callers of functions.

use std::future::Future;
use std::io;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

use crate::Readiness;

/// Prometheus's text format (prometheus.io, "Exposition formats").
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the admin port until `shutdown` resolves and the requests under way are answered.
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
    axum::serve(listener, routes).with_graceful_shutdown(shutdown).await
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
}
