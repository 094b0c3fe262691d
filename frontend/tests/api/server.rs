//! Connections: slow ones, many ones, and the end of the process.

use std::time::Duration;

use hearth_frontend::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fleet::Fleet;
use crate::platform::{Platform, signed};

const GRACE: Duration = Duration::from_secs(10);

/// A signed request as bytes.
async fn wire(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let (parts, _) = signed(method, path, &[], body).into_parts();
    let mut text = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in &parts.headers {
        text.extend_from_slice(format!("{name}: ").as_bytes());
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    text
}

async fn connect(endpoint: &str) -> TcpStream {
    TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_running_request_completes_when_the_frontend_shuts_down() {
    let platform = Platform::start().await;
    platform.create("holds", "hold").await;
    let endpoint = platform.listen().await;
    let mut busy = connect(&endpoint).await;
    let mut idle = connect(&endpoint).await;
    idle.write_all(&wire("GET", "/2015-03-31/functions", b"").await).await.unwrap();
    assert!(idle.read(&mut [0; 65_536]).await.unwrap() > 0);
    let started = platform.fleet.started.notified();
    busy.write_all(&wire("POST", "/2015-03-31/functions/holds/invocations", b"{}").await).await.unwrap();
    started.await;
    let (stopped, answer) = tokio::join!(platform.frontend.shutdown(GRACE), async {
        // The idle connection is closed at once, and nobody new is let in.
        assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
        let refused = async {
            while TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(GRACE, refused).await.expect("the listener is closed");
        platform.fleet.release.notify_one();
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.unwrap();
        answer
    });
    assert!(stopped);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\"held\""), "{answer}");
    assert_eq!(platform.fleet.open_slots(), 0);
}

#[tokio::test]
async fn a_shutdown_whose_grace_is_over_says_so() {
    let platform = Platform::start().await;
    platform.create("holds", "hold").await;
    let endpoint = platform.listen().await;
    let mut busy = connect(&endpoint).await;
    let started = platform.fleet.started.notified();
    busy.write_all(&wire("POST", "/2015-03-31/functions/holds/invocations", b"{}").await).await.unwrap();
    started.await;
    assert!(!platform.frontend.shutdown(Duration::from_millis(20)).await);
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let config = Config {
        head_timeout: Duration::from_millis(100),
        body_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let platform = Platform::with(config, Fleet::new()).await;
    platform.create("echo", "app.handler").await;
    let endpoint = platform.listen().await;
    let mut slow_head = connect(&endpoint).await;
    slow_head.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(GRACE, slow_head.read_to_end(&mut answer)).await.expect("it is closed").unwrap();
    let mut slow_body = connect(&endpoint).await;
    let request = wire("POST", "/2015-03-31/functions/echo/invocations", b"{\"a\":1}").await;
    slow_body.write_all(&request[..request.len() - 2]).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(GRACE, slow_body.read_to_string(&mut answer)).await.expect("it is answered").unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("RequestTimeoutException"), "{answer}");
    assert!(platform.fleet.invoked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_may_come_in_chunks() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let endpoint = platform.listen().await;
    let whole = String::from_utf8(wire("POST", "/2015-03-31/functions/echo/invocations", b"{\"a\":1}").await).unwrap();
    let (head, _) = whole.split_once("\r\n\r\n").unwrap();
    let head = head.replace("content-length: 7", "transfer-encoding: chunked\r\nconnection: close");
    let mut client = connect(&endpoint).await;
    for part in [head.as_str(), "\r\n\r\n3\r\n{\"a\r\n", "4\r\n\":1}\r\n", "0\r\n\r\n"] {
        client.write_all(part.as_bytes()).await.unwrap();
    }
    let mut answer = String::new();
    tokio::time::timeout(GRACE, client.read_to_string(&mut answer)).await.expect("it is answered").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("{\"a\":1}"), "{answer}");
}

/// A reply larger than all buffers on the way, to a client that does not read: the connection ends, so that a shutdown
/// has nothing to wait for.
#[tokio::test]
async fn clients_that_take_no_answer_are_cut_off() {
    let config = Config { stall_timeout: Duration::from_millis(100), ..Config::default() };
    let platform = Platform::with(config, Fleet::new()).await;
    platform.create("six", "six_megabytes").await;
    let endpoint = platform.listen().await;
    let mut deaf = connect(&endpoint).await;
    let completed = async {
        deaf.write_all(&wire("POST", "/2015-03-31/functions/six/invocations", b"{}").await).await.unwrap();
        while platform.fleet.completed.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(GRACE, completed).await.expect("the call runs");
    assert!(platform.frontend.shutdown(GRACE).await);
    let mut rest = Vec::new();
    let _ = deaf.read_to_end(&mut rest).await;
    assert!(rest.len() < 6 * 1024 * 1024, "all of the answer was sent");
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_served() {
    let config = Config { max_connections: 1, ..Config::default() };
    let platform = Platform::with(config, Fleet::new()).await;
    let endpoint = platform.listen().await;
    let request = wire("GET", "/2015-03-31/functions", b"").await;
    let mut first = connect(&endpoint).await;
    first.write_all(&request).await.unwrap();
    assert!(first.read(&mut [0; 65_536]).await.unwrap() > 0);
    let mut second = connect(&endpoint).await;
    second.write_all(&request).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(100), second.readable()).await;
    assert!(waits.is_err(), "the second connection must wait");
    drop(first);
    assert!(tokio::time::timeout(GRACE, second.read(&mut [0; 65_536])).await.expect("it is served").unwrap() > 0);
}

#[tokio::test]
async fn bodies_above_the_memory_for_them_are_refused() {
    let config = Config { body_memory_bytes: 64 * 1024, ..Config::default() };
    let platform = Platform::with(config, Fleet::new()).await;
    platform.create("echo", "app.handler").await;
    let payload = vec![b'1'; 65 * 1024];
    assert_eq!(platform.invoke("echo", &[], &payload).await.error().1, "ServiceUnavailableException");
    assert_eq!(platform.invoke("echo", &[], &payload[..60 * 1024]).await.status, 200);
}
