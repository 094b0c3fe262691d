//! The Runtime API against clients that err, dawdle or attack. The test itself plays the runtime.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use hearth_guest_protocol::response::Outcome;
use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
const IN_TIME: Duration = Duration::from_secs(20);

/// A sandbox whose runtime only says where the Runtime API is, and that address.
fn watched() -> (Sandbox, String) {
    let mut sandbox = Sandbox::custom();
    sandbox.write_executable("bootstrap", "#!/bin/sh\necho $AWS_LAMBDA_RUNTIME_API\nexec sleep 1000\n");
    sandbox.ready();
    sandbox.init("h", &[]);
    let address = sandbox.first_log_line();
    (sandbox, address)
}

/// The same after its init, with the connection on which the runtime waits.
fn idle() -> (Sandbox, String, Client) {
    let (mut sandbox, address) = watched();
    let mut client = Client::connect(&address);
    client.send(NEXT);
    assert_eq!(sandbox.init_done().error, None);
    (sandbox, address, client)
}

/// The same with the invocation `r` delivered.
fn running() -> (Sandbox, String, Client) {
    let (mut sandbox, address, mut client) = idle();
    sandbox.invoke("r", "{}");
    assert_eq!(client.answer().status, 200);
    (sandbox, address, client)
}

struct Client(TcpStream, Vec<u8>);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn error(&self) -> (u16, String, String) {
        let document: Value = serde_json::from_str(&self.body).unwrap();
        let field = |name: &str| document[name].as_str().unwrap().to_owned();
        (self.status, field("errorType"), field("errorMessage"))
    }
}

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(IN_TIME)).unwrap();
        Self(stream, Vec::new())
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(&request("POST", path, body));
        self.answer()
    }

    /// The next answer; panics when the connection ends first.
    fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer before the end of the connection")
    }

    fn try_answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(end) = self.1.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.1[..end].to_vec()).unwrap();
                let header = |line: &str| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned);
                let length: usize = head.lines().find_map(header).map_or(0, |value| value.parse().unwrap());
                if self.1.len() >= end + 4 + length {
                    let body = String::from_utf8(self.1[end + 4..end + 4 + length].to_vec()).unwrap();
                    self.1.drain(..end + 4 + length);
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Some(Answer { status, head, body });
                }
            }
            let mut chunk = [0; 65_536];
            match self.0.read(&mut chunk).expect("bytes in time") {
                0 => return None,
                length => self.1.extend_from_slice(&chunk[..length]),
            }
        }
    }
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} /2018-06-01{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn forbidden(from: &str, to: &str) -> (u16, String, String) {
    let message =
        format!("State transition from {from} to {to} failed for runtime. Error: State transition is not allowed");
    (403, "InvalidStateTransition".into(), message)
}

fn invalid_id() -> (u16, String, String) {
    (400, "InvalidRequestID".into(), "Invalid request ID".into())
}

#[test]
fn an_invocation_has_aws_s_headers_and_its_answer_is_accepted() {
    let (mut sandbox, _, mut client) = idle();
    let mut invoke = crate::sandbox::invocation("r", r#"{"a":1}"#);
    invoke.client_context = r#"{"c":1}"#.into();
    let expected = invoke.clone();
    sandbox.send(invoke);
    let answer = client.answer();
    for line in [
        "Lambda-Runtime-Aws-Request-Id: r".to_owned(),
        format!("Lambda-Runtime-Deadline-Ms: {}", expected.deadline_unix_ms),
        format!("Lambda-Runtime-Invoked-Function-Arn: {}", expected.invoked_arn),
        format!("Lambda-Runtime-Trace-Id: {}", expected.trace_id),
        "Lambda-Runtime-Client-Context: {\"c\":1}".to_owned(),
        "Content-Type: application/json".to_owned(),
    ] {
        assert!(
            answer.head.contains(&format!("\r\n{line}\r\n")) || answer.head.ends_with(&line),
            "{line} in {}",
            answer.head
        );
    }
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"a":1}"#));
    let accepted = client.post("/runtime/invocation/r/response", "done");
    assert_eq!((accepted.status, accepted.body.as_str()), (202, "{\"status\":\"OK\"}\n"));
    assert_eq!(sandbox.response("r"), Outcome::Payload("done".into()));
}

#[test]
fn what_comes_out_of_turn_is_refused_and_changes_nothing() {
    let (mut sandbox, address, mut runtime) = idle();
    let mut other = Client::connect(&address);
    assert_eq!(other.post("/runtime/invocation/r/response", "x").error(), invalid_id());
    assert_eq!(other.post("/runtime/init/error", "{}").error(), forbidden("Ready", "InitError"));
    sandbox.invoke("r", "{}");
    assert_eq!(runtime.answer().status, 200);
    assert_eq!(other.post("/runtime/invocation/other/response", "x").error(), invalid_id());
    assert_eq!(other.post("/runtime/invocation//error", "x").error(), invalid_id());
    assert_eq!(runtime.post("/runtime/invocation/r/response", "first").status, 202);
    assert_eq!(sandbox.response("r"), Outcome::Payload("first".into()));
    let twice = runtime.post("/runtime/invocation/r/response", "second").error();
    assert_eq!(twice, forbidden("RuntimeResponseSentState", "InvocationResponse"));
    runtime.send(NEXT);
    sandbox.invoke("s", "{}");
    assert_eq!(runtime.answer().status, 200);
    assert_eq!(runtime.post("/runtime/invocation/s/response", "third").status, 202);
    assert_eq!(sandbox.response("s"), Outcome::Payload("third".into()));
}

#[test]
fn the_rest_of_the_paths() {
    let (_sandbox, address, _runtime) = idle();
    let mut client = Client::connect(&address);
    for (method, path, status, body) in [
        ("GET", "/ping", 200, "pong"),
        ("POST", "/ping", 405, ""),
        ("GET", "/runtime/nothing", 404, "404 page not found\n"),
        ("GET", "/runtime/init/error", 405, ""),
    ] {
        client.send(&request(method, path, ""));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{method} {path}");
    }
}

#[test]
fn errors_keep_their_type_and_document() {
    let (mut sandbox, _, mut client) = running();
    let document = r#"{"errorType":"E","errorMessage":"m"}"#;
    let head = "POST /2018-06-01/runtime/invocation/r/error HTTP/1.1\r\nHost: x\r\nLambda-Runtime-Function-Error-Type: Own.Kind";
    client.send(&format!("{head}\r\nContent-Length: {}\r\n\r\n{document}", document.len()));
    assert_eq!(client.answer().status, 202);
    let Outcome::Error(error) = sandbox.response("r") else { panic!("an error was posted") };
    assert_eq!((error.error_type.as_str(), &error.document[..]), ("Own.Kind", document.as_bytes()));
}

#[test]
fn an_init_error_is_the_end_of_the_init() {
    let (mut sandbox, address) = watched();
    let mut client = Client::connect(&address);
    assert_eq!(client.post("/runtime/init/error", r#"{"errorMessage":"m"}"#).status, 202);
    assert_eq!(sandbox.init_error(), ("Runtime.Unknown".into(), json!({"errorMessage": "m"})));
    client.send(NEXT);
    assert_eq!(client.answer().error(), forbidden("InitError", "Ready"));
}

#[test]
fn the_largest_answer_passes_and_one_byte_more_is_too_large() {
    let (mut sandbox, _, mut client) = running();
    let largest = "x".repeat(SYNC_RESPONSE_MAX_BYTES);
    // The runtime hears that its answer was taken when the worker has read it.
    client.send(&request("POST", "/runtime/invocation/r/response", &largest));
    assert_eq!(sandbox.response("r"), Outcome::Payload(largest.clone().into()));
    assert_eq!(client.answer().status, 202);
    client.send(NEXT);
    sandbox.invoke("s", "{}");
    assert_eq!(client.answer().status, 200);
    let refused = client.post("/runtime/invocation/s/response", &(largest + "x")).error();
    let message = "Exceeded maximum allowed payload size (6291556 bytes).".to_owned();
    assert_eq!(refused, (413, "RequestEntityTooLarge".into(), message));
    assert_eq!(sandbox.response("s"), Outcome::TooLarge(SYNC_RESPONSE_MAX_BYTES as u64 + 1));
}

#[test]
fn chunked_and_slow_bodies_are_whole_answers() {
    let (mut sandbox, _, mut client) = running();
    client.send(
        "POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for part in ["5\r\nhello\r\n", "1", "\r\n \r\n", "5\r", "\nworld", "\r\n0\r\n\r\n"] {
        client.send(part);
        // Not a wait for anything: it only makes the parts arrive apart.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.answer().status, 202);
    assert_eq!(sandbox.response("r"), Outcome::Payload("hello world".into()));
}

#[test]
fn an_answer_and_the_request_for_the_next_invocation_may_come_in_one_piece() {
    let (mut sandbox, _, mut client) = running();
    client.send(&(request("POST", "/runtime/invocation/r/response", "first") + NEXT));
    assert_eq!(sandbox.response("r"), Outcome::Payload("first".into()));
    sandbox.invoke("s", "{}");
    let (accepted, next) = (client.answer(), client.answer());
    assert_eq!((accepted.status, next.status), (202, 200));
    assert!(next.head.contains("Request-Id: s\r\n"), "{}", next.head);
    // What is no request for an invocation does not hold the answer before it back.
    client.send(&(request("POST", "/runtime/invocation/s/response", "second") + &request("GET", "/ping", "")));
    assert_eq!((client.answer().status, client.answer().body.as_str()), (202, "pong"));
    assert_eq!(sandbox.response("s"), Outcome::Payload("second".into()));
}

#[test]
fn a_client_that_waits_for_a_word_before_its_body_gets_it() {
    let (mut sandbox, _, mut client) = running();
    let head = "POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n";
    client.send(&format!("{head}Content-Length: 4\r\n\r\n"));
    assert_eq!(client.answer().status, 100);
    client.send("body");
    assert_eq!(client.answer().status, 202);
    assert_eq!(sandbox.response("r"), Outcome::Payload("body".into()));
}

#[test]
fn a_long_body_that_is_not_wanted_is_read_so_that_the_refusal_is_heard() {
    let (mut sandbox, _, mut client) = running();
    let long = "x".repeat(2 * SYNC_RESPONSE_MAX_BYTES);
    assert_eq!(client.post("/runtime/invocation/other/response", &long).error(), invalid_id());
    assert_eq!(client.post("/runtime/invocation/r/response", "x").status, 202);
    assert_eq!(sandbox.response("r"), Outcome::Payload("x".into()));
}

#[test]
fn a_body_that_breaks_off_may_be_sent_again() {
    let (mut sandbox, address, _runtime) = running();
    let mut broken = Client::connect(&address);
    broken.send(
        "POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this",
    );
    broken.0.shutdown(Shutdown::Write).unwrap();
    while broken.try_answer().is_some() {}
    let mut whole = Client::connect(&address);
    assert_eq!(whole.post("/runtime/invocation/r/response", "all of it").status, 202);
    assert_eq!(sandbox.response("r"), Outcome::Payload("all of it".into()));
}

#[test]
fn a_lost_connection_is_followed_by_the_same_invocation() {
    let (mut sandbox, address, runtime) = running();
    drop(runtime);
    let mut again = Client::connect(&address);
    again.send(NEXT);
    let answer = again.answer();
    assert!(answer.head.contains("Request-Id: r\r\n"), "{}", answer.head);
    assert_eq!(again.post("/runtime/invocation/r/response", "x").status, 202);
    assert_eq!(sandbox.response("r"), Outcome::Payload("x".into()));
}

#[test]
fn what_is_not_http_ends_its_own_connection_and_nothing_else() {
    let (mut sandbox, address, mut runtime) = idle();
    let too_large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * 1024 * 1024));
    let too_many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let smuggled = "POST /2018-06-01/ping HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked, x\r\n\r\nhello";
    let negative = "POST /2018-06-01/ping HTTP/1.1\r\nContent-Length: -5\r\n\r\n";
    for garbage in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "x y z\r\n\r\n", negative, smuggled, &too_large, &too_many] {
        let mut client = Client::connect(&address);
        // The server may hang up before it has read everything.
        let _ = client.0.write_all(garbage.as_bytes());
        let _ = client.0.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        let _ = client.0.read_to_end(&mut said);
        let text = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || text.starts_with("HTTP/1.1 4"), "{garbage:.40?} was answered: {text}");
    }
    sandbox.invoke("r", "{}");
    assert_eq!(runtime.answer().status, 200);
}

#[test]
fn more_connections_than_are_served_wait_and_are_served_later() {
    let (mut sandbox, address, mut runtime) = idle();
    let mut idlers: Vec<_> = (0..120).map(|_| Client::connect(&address)).collect();
    sandbox.invoke("r", "{}");
    assert_eq!(runtime.answer().status, 200);
    assert_eq!(runtime.post("/runtime/invocation/r/response", "x").status, 202);
    let mut last = idlers.pop().unwrap();
    last.send(&request("GET", "/ping", ""));
    drop(idlers);
    assert_eq!(last.answer().status, 200);
    assert_eq!(sandbox.response("r"), Outcome::Payload("x".into()));
}
