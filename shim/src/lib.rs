//! The control process inside a sandbox: its PID 1, the worker's voice and ear, and the Runtime API of user code.
//!
//! ```text
//!   worker ◀── frames, fd 3 ──▶ supervisor ◀──▶ lifecycle (pure)
//!                                │   ▲  ▲
//!                  fork, exec    ▼   │  └── runtime_api ◀── HTTP, loopback ──┐
//!                              runtime process ── stdout, stderr ──▶ output  │
//!                                └───────────────────────────────────────────┘
//! ```
//!
//! Invariants: one function in one life; one invocation at a time; user code runs without capabilities, without the
//! channel's descriptor, and can't look into this process; memory is bounded by the largest payload and a few small
//! buffers; what a runtime writes is never lost silently and never stops it from running.
//!
//! In a microVM the shim is the first process of all ([`guest`]); in a jail the launcher has made everything ready.
//!
//! One thread. [`supervisor`] owns everything that changes; HTTP connections post requests to it. `unsafe` lives in
//! [`sys`] only.

pub mod channel;
pub mod config;
pub mod guest;
pub mod lifecycle;
pub mod log_meter;
mod output;
mod processes;
mod runtime;
mod runtime_api;
mod supervisor;
pub mod sys;

pub use supervisor::{RunError, run};

use hearth_guest_protocol::GuestError;

/// An error document in AWS's form, for what the shim itself finds.
fn guest_error(error_type: &str, message: &str) -> GuestError {
    let document = serde_json::json!({ "errorType": error_type, "errorMessage": message });
    GuestError { error_type: error_type.to_owned(), document: document.to_string().into() }
}
