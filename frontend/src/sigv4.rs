//! AWS Signature Version 4: who sent this request, and is it what they sent.
//!
//! Header form (`Authorization`) and presigned form (`X-Amz-Signature` in the query). Source: AWS General Reference,
//! "Create a signed AWS API request"; checked against AWS's published test suite and against botocore.
//!
//! Verification comes in two steps, because the payload's hash needs the body: [`Claim::read`] and [`Verifier::admit`]
//! need only the head of the request and refuse stale dates and wrong scopes before one byte of the body is read (the
//! caller looks up the key in between); [`Verifier::verify`] then checks the signature.
//!
//! Invariants: signatures are compared in constant time; a secret never appears in an error.

mod canonical;
mod claim;
#[cfg(test)]
mod known_answers;
#[cfg(test)]
mod properties;
mod sign;
mod signing_key;
mod verify;

pub use canonical::{PayloadHash, canonical_request};
pub(crate) use canonical::{decoded, push_encoded};
pub use claim::{Claim, Form, Scope};
pub use sign::{Credentials, SignError, presign, sign};
pub use signing_key::SigningKey;
pub use verify::{AuthError, Verifier};

/// The service in our credential scopes.
pub const SERVICE: &str = "lambda";
/// The one algorithm of Signature Version 4 that is served.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The end of every credential scope.
pub const TERMINATOR: &str = "aws4_request";
/// How far a request's date may lie from ours, seconds.
pub const CLOCK_SKEW_MAX_S: i64 = 5 * 60;
/// Longest life of a presigned URL, seconds (7 days).
pub const PRESIGNED_MAX_S: i64 = 7 * 24 * 60 * 60;
