//! The roles joined by gRPC: a client for each trait, and a server for whatever roles a process has.
//!
//! Errors of an operation travel as typed messages within its reply. The one failure that every call can have,
//! [`Unreachable`](crate::Unreachable), travels in the details of a status `UNAVAILABLE`; any other status is a
//! broken transport or a malformed message, and becomes an `Unreachable` at the client.
//!
//! Absent on purpose: retries. Whoever calls knows whether asking again is safe; `Unreachable::not_sent` helps.

mod channel;
mod directory;
mod placement;
mod server;
mod worker;
mod worker_manager;

pub use channel::InvalidUrl;
pub use directory::{DIRECTORY_MAX_WORKERS, GrpcDirectory};
pub use placement::PlacementClient;
pub use server::{Roles, ServeError, serve};
pub use worker::WorkerClient;
pub use worker_manager::WorkerManagerClient;

use hearth_domain::limits::{LOG_LINE_MAX_BYTES, SYNC_REQUEST_MAX_BYTES, SYNC_RESPONSE_MAX_BYTES};

/// Largest message either way, bytes: the largest payload, and room for what goes with it.
pub const MESSAGE_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most calls under way on one connection; further ones wait at the client. Above what an account may run at once.
pub const CONNECTION_MAX_CALLS: u32 = 16_384;
/// Bytes of one call that may be under way unacknowledged: a large payload then needs few round trips.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes of one streamed answer that may be under way unacknowledged, on a connection that carries nothing else.
const ANSWER_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all streamed answers of one connection together: more than there can be (the largest that HTTP/2 has), so
/// that callers who read slowly hold nobody up but themselves.
const ANSWERS_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// The same for all other calls of one connection together.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

const _: () = assert!(MESSAGE_MAX_BYTES > SYNC_REQUEST_MAX_BYTES + LOG_LINE_MAX_BYTES);
const _: () = assert!(MESSAGE_MAX_BYTES > SYNC_RESPONSE_MAX_BYTES + LOG_LINE_MAX_BYTES);
