//! The HTTP edge: who is calling, which function, may it run; asynchronous invocations.
//!
//! The AWS Lambda REST API on the wire, so that `aws lambda`, boto3 and the SDKs work with nothing but another
//! endpoint. One call: `server` (connections) → `api` (route, signature, operation) → `validation` → catalog →
//! `invocation` (slot, worker, answer). `errors` is the only place where an error becomes a reply.
//!
//! Absent on purpose: which slot runs a call (worker manager), where slots are (placement), and every byte of a
//! sandbox but the answer's.
#![forbid(unsafe_code)]

mod activation;
pub mod alias;
mod api;
pub mod asynchronous;
pub mod belongings;
mod bundle_cleanup;
pub mod calendar;
mod change_locks;
pub mod concurrency;
mod config;
pub mod errors;
pub mod event_stream;
mod frontend;
pub mod function_url;
#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
pub mod identity;
pub mod invocation;
pub mod layers;
pub mod logs;
pub mod metering;
mod metrics;
pub mod model;
pub mod policy;
mod provisioning;
pub mod resolution;
pub mod resource_policy;
mod server;
pub mod server_timing;
pub mod sigv4;
mod specs;
pub mod validation;

pub use api::routes::{Route, routes};
pub use config::Config;
pub use frontend::{Deps, Frontend, StartError};
