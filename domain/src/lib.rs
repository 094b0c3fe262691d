//! The vocabulary every part of Hearth shares.
//!
//! Absent on purpose: I/O, async, threads, randomness and the clock. A [`time::Moment`] always comes from outside, so
//! that everything built on these types also runs in virtual time.
#![forbid(unsafe_code)]

pub mod function;
pub mod id;
pub mod invocation;
pub mod isolation;
pub mod lease;
pub mod limits;
pub mod logging;
pub mod runtime;
pub mod size;
pub mod slot;
pub mod start;
pub mod stream;
pub mod time;
pub mod timing;

pub use function::{FunctionCredentials, FunctionRef, FunctionSpec};
pub use id::{
    AccountId, AliasName, BundleDigest, ClaimId, FunctionName, HolderId, InvalidId, LogGroup, RequestId, RevisionId,
    SlotId, Version, WorkerId,
};
pub use invocation::{FunctionError, FunctionResponse, InitFailure, InvocationUsage, SlotOutcome};
pub use isolation::Isolation;
pub use lease::{FencingToken, Lease, LeaseTerms};
pub use logging::{LogFormat, LogLevel, Logging};
pub use runtime::Runtime;
pub use size::{EphemeralStorage, MemorySize, Timeout};
pub use slot::{SlotEvent, SlotState};
pub use start::StartTimes;
pub use time::Moment;
