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

use std::fmt::Display;

pub use client::{Client, ClientError};
pub use context::Context;
pub use http::EVENT_MAX_BYTES;

/// Names the Runtime API's address in a function's environment (AWS Lambda developer guide, "Using the Lambda runtime
/// API").
const RUNTIME_API_VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";

/// The function can't go on: its platform is not there, or not what it should be.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The process was not started by a function platform: `AWS_LAMBDA_RUNTIME_API` is not set.
    NoPlatform,
    /// The Runtime API failed.
    Client(ClientError),
}

impl Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPlatform => write!(f, "{RUNTIME_API_VARIABLE} is not set: start this through a function platform"),
            Self::Client(error) => Display::fmt(error, f),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoPlatform => None,
            Self::Client(error) => Some(error),
        }
    }
}

impl From<ClientError> for RunError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
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
    let mut client = Client::new(address);
    loop {
        let (event, context) = client.next_invocation()?;
        match handler(&event, &context) {
            Ok(answer) => client.respond(&context.request_id, answer.as_ref())?,
            Err(error) => client.fail(&context.request_id, std::any::type_name::<E>(), &error.to_string())?,
        }
    }
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
    let mut client = Client::new(address);
    loop {
        let (event, context) = client.next_invocation()?;
        let event = match serde_json::from_slice(&event) {
            Ok(event) => event,
            Err(error) => {
                client.fail(&context.request_id, "Runtime.UnmarshalError", &error.to_string())?;
                continue;
            }
        };
        match handler(event, &context).map(|answer| serde_json::to_vec(&answer)) {
            Ok(Ok(answer)) => client.respond(&context.request_id, &answer)?,
            Ok(Err(error)) => client.fail(&context.request_id, "Runtime.MarshalError", &error.to_string())?,
            Err(error) => client.fail(&context.request_id, std::any::type_name::<E>(), &error.to_string())?,
        }
    }
}
