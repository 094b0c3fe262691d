//! Functions in Rust for Hearth, and for AWS Lambda's OS-only runtimes: a `main` that calls [`run`].
//!
//! ```no_run
//! use hearth_sdk::Context;
//!
//! fn main() -> Result<(), hearth_sdk::RunError> {
//!     hearth_sdk::run(|event: &[u8], context: &Context| {
//!         eprintln!("{} bytes for {}", event.len(), context.request_id);
//!         Ok::<_, std::io::Error>(event.to_vec())
//!     })
//! }
//! ```
//!
//! Build it as an executable named `bootstrap` and deploy it with runtime `provided.al2023`.
//!
//! One thread, one connection, no async runtime and, without the feature `json`, no dependency: a process is ready within
//! a fraction of a millisecond. What functions need beyond that the official `lambda_runtime` crate has; it runs on Hearth
//! as well.
//!
//! Invariants: one invocation at a time; an event is buffered whole, bounded by [`EVENT_MAX_BYTES`]; a panic is not
//! caught, it ends the process and the platform tells the caller (`Runtime.ExitError`).
#![forbid(unsafe_code)]

mod client;
mod context;
mod http;
mod stream;

use std::fmt::Display;

pub use client::{Client, ClientError};
pub use context::Context;
pub use http::EVENT_MAX_BYTES;
pub use stream::ResponseStream;

/// Names the Runtime API's address in a function's environment (AWS Lambda developer guide, "Using the Lambda runtime
/// API").
const RUNTIME_API_VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";

/// Says how a sandbox was started; `snap-start` where a snapshot is taken after the init.
const INITIALIZATION_TYPE_VARIABLE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// The function can't go on: its platform is not there, or not what it should be.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The process was not started by a function platform: `AWS_LAMBDA_RUNTIME_API` is not set.
    NoPlatform,
    /// The Runtime API failed.
    Client(ClientError),
    /// What was to be done around the snapshot failed, which the platform was told.
    Hook(String),
}

impl Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPlatform => write!(f, "{RUNTIME_API_VARIABLE} is not set: start this through a function platform"),
            Self::Client(error) => Display::fmt(error, f),
            Self::Hook(message) => write!(f, "around the snapshot: {message}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoPlatform | Self::Hook(_) => None,
            Self::Client(error) => Some(error),
        }
    }
}

impl From<ClientError> for RunError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// Has the platform take its snapshot here, if this version of the function starts from one. Call it at the end of the init,
/// before [`run`]; elsewhere it does nothing, and neither hook is called.
///
/// `before` is the last that runs before the snapshot: close connections there. All sandboxes of this version go on behind
/// it, each with `after`: what must not be the same in two of them begins anew there, such as the seed of a generator
/// that does not ask the kernel each time. An error of either ends the function: return the one that this returns.
pub fn snapshot<E: Display>(
    before: impl FnOnce() -> Result<(), E>,
    after: impl FnOnce() -> Result<(), E>,
) -> Result<(), RunError> {
    if std::env::var(INITIALIZATION_TYPE_VARIABLE).is_ok_and(|kind| kind == "snap-start") {
        let address = std::env::var(RUNTIME_API_VARIABLE).map_err(|_| RunError::NoPlatform)?;
        around(&mut Client::new(address), before, after)?;
    }
    Ok(())
}

fn around<E: Display>(
    client: &mut Client,
    before: impl FnOnce() -> Result<(), E>,
    after: impl FnOnce() -> Result<(), E>,
) -> Result<(), RunError> {
    if let Err(error) = before() {
        client.fail_init("Runtime.BeforeSnapshotError", &error.to_string())?;
        return Err(RunError::Hook(error.to_string()));
    }
    client.restore_next()?;
    if let Err(error) = after() {
        client.fail_restore("Runtime.AfterRestoreError", &error.to_string())?;
        return Err(RunError::Hook(error.to_string()));
    }
    Ok(())
}

/// Serves invocations with `handler` until the process is ended. Returns only with an error.
///
/// `handler` gets the event document as it came and answers with one of its own, usually JSON. Its error becomes an error
/// document: `errorType` is the error's type, `errorMessage` what it says.
pub fn run<A, E>(mut handler: impl FnMut(&[u8], &Context) -> Result<A, E>) -> Result<(), RunError>
where
    A: AsRef<[u8]>,
    E: Display,
{
    let address = std::env::var(RUNTIME_API_VARIABLE).map_err(|_| RunError::NoPlatform)?;
    serve(Client::new(address), |event, context| {
        handler(event, context).map_err(|error| (std::any::type_name::<E>(), error.to_string()))
    })
}

/// [`run`] with answers that go out as they are written.
///
/// An error before the first byte is the invocation's; a later one ends the answer early, and its caller is told of it.
pub fn run_streaming<E: Display>(
    mut handler: impl FnMut(&[u8], &Context, &mut ResponseStream<'_>) -> Result<(), E>,
) -> Result<(), RunError> {
    let address = std::env::var(RUNTIME_API_VARIABLE).map_err(|_| RunError::NoPlatform)?;
    let mut client = Client::new(address);
    loop {
        let (event, context) = client.next_invocation()?;
        stream_one(&mut client, &event, &context, &mut handler)?;
    }
}

fn stream_one<E: Display>(
    client: &mut Client,
    event: &[u8],
    context: &Context,
    handler: &mut impl FnMut(&[u8], &Context, &mut ResponseStream<'_>) -> Result<(), E>,
) -> Result<(), RunError> {
    let mut stream = client.stream(&context.request_id);
    let error_type = std::any::type_name::<E>();
    match handler(event, context, &mut stream) {
        Ok(()) => stream.finish()?,
        Err(error) if stream.has_begun() => stream.fail(error_type, &error.to_string())?,
        Err(error) => client.fail(&context.request_id, error_type, &error.to_string())?,
    }
    Ok(())
}

/// [`run`] with events and answers as serde types.
///
/// An event that is not of the type, and an answer that can't be written as JSON, are errors of that invocation.
#[cfg(feature = "json")]
pub fn run_json<T, A, E>(mut handler: impl FnMut(T, &Context) -> Result<A, E>) -> Result<(), RunError>
where
    T: serde::de::DeserializeOwned,
    A: serde::Serialize,
    E: Display,
{
    let address = std::env::var(RUNTIME_API_VARIABLE).map_err(|_| RunError::NoPlatform)?;
    serve(Client::new(address), |event, context| {
        let event = serde_json::from_slice(event).map_err(|error| ("Runtime.UnmarshalError", error.to_string()))?;
        let answer = handler(event, context).map_err(|error| (std::any::type_name::<E>(), error.to_string()))?;
        serde_json::to_vec(&answer).map_err(|error| ("Runtime.MarshalError", error.to_string()))
    })
}

/// Answers one invocation after the other. An error is its type and what it says.
fn serve<A: AsRef<[u8]>>(
    mut client: Client,
    mut handle: impl FnMut(&[u8], &Context) -> Result<A, (&'static str, String)>,
) -> Result<(), RunError> {
    let (mut event, mut context) = client.next_invocation()?;
    loop {
        (event, context) = match handle(&event, &context) {
            Ok(answer) => client.respond_and_next(&context.request_id, answer.as_ref())?,
            Err((error_type, message)) => {
                client.fail(&context.request_id, error_type, &message)?;
                client.next_invocation()?
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A platform that answers each request with the next of these statuses; the requests' lines.
    fn platform(statuses: &'static [u16]) -> (Client, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(listener.local_addr().unwrap().to_string());
        let requests = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let answer = |status: &u16| {
                let mut buffer = [0; 4096];
                let length = stream.read(&mut buffer).unwrap();
                write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").unwrap();
                String::from_utf8_lossy(&buffer[..length]).lines().next().unwrap().to_owned()
            };
            statuses.iter().map(answer).collect()
        });
        (client, requests)
    }

    #[test]
    fn the_snapshot_lies_between_the_hooks() {
        let (mut client, requests) = platform(&[200]);
        let ran = std::cell::RefCell::new(Vec::new());
        let hook = |name| {
            ran.borrow_mut().push(name);
            Ok::<_, &str>(())
        };
        around(&mut client, || hook("before"), || hook("after")).unwrap();
        assert_eq!(ran.into_inner(), ["before", "after"]);
        assert_eq!(requests.join().unwrap(), ["GET /2018-06-01/runtime/restore/next HTTP/1.1"]);
    }

    /// A platform that answers what it reads with `answers`, one for each time that something can be read.
    fn scripted(answers: &'static [&'static str]) -> (Client, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(listener.local_addr().unwrap().to_string());
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            for answer in answers {
                let mut buffer = [0; 4096];
                let length = stream.read(&mut buffer).unwrap();
                heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            heard
        });
        (client, heard)
    }

    const INVOCATION: &str = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r\r\nLambda-Runtime-Deadline-Ms: 1\r\n\
                              Lambda-Runtime-Invoked-Function-Arn: a\r\nContent-Length: 2\r\n\r\n{}";
    const BOTH: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n\
                        HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: s\r\nLambda-Runtime-Deadline-Ms: 1\r\n\
                        Lambda-Runtime-Invoked-Function-Arn: a\r\nContent-Length: 2\r\n\r\n[]";

    #[test]
    fn an_answer_asks_for_the_next_invocation_in_one_piece() {
        let (mut client, heard) = scripted(&[INVOCATION, BOTH]);
        let (event, context) = client.next_invocation().unwrap();
        assert_eq!((event.as_slice(), context.request_id.as_str()), (&b"{}"[..], "r"));
        let (event, context) = client.respond_and_next("r", b"answer").unwrap();
        assert_eq!((event.as_slice(), context.request_id.as_str()), (&b"[]"[..], "s"));
        let heard = heard.join().unwrap();
        assert!(heard[1].starts_with("POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\n"), "{heard:?}");
        assert!(heard[1].contains("\r\n\r\nanswerGET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"), "{heard:?}");
    }

    #[test]
    fn a_refused_answer_does_not_wait_for_the_next_invocation() {
        let (mut client, heard) = scripted(&["HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"]);
        let refused = client.respond_and_next("r", b"answer");
        assert!(matches!(refused, Err(ClientError::Refused { status: 403, .. })), "{refused:?}");
        heard.join().unwrap();
    }

    #[test]
    fn a_failing_hook_is_told_and_ends_the_function() {
        let (mut client, requests) = platform(&[202]);
        let failed = around(&mut client, || Err("no"), || unreachable!("nothing was restored"));
        assert!(matches!(failed, Err(RunError::Hook(message)) if message == "no"));
        assert_eq!(requests.join().unwrap(), ["POST /2018-06-01/runtime/init/error HTTP/1.1"]);
        let (mut client, requests) = platform(&[200, 202]);
        assert!(around(&mut client, || Ok(()), || Err("no")).is_err());
        assert_eq!(requests.join().unwrap()[1], "POST /2018-06-01/runtime/restore/error HTTP/1.1");
    }
}
