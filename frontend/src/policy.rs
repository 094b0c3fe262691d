//! Policies: who may do what, decided from documents alone.
//!
//! [`Policy`] is one document (identity, session, trust or resource policy), read once; [`evaluate`] decides one
//! [`Request`] against all that apply. Source: AWS IAM user guide, "Policy evaluation logic", "IAM JSON policy element
//! reference" and "Condition operators".
//!
//! ```text
//! explicit deny anywhere ──▶ denied
//! same account:  identity policy OR a resource policy that names the caller; a session policy narrows the first
//! other account: identity policy AND resource policy
//! root of the account that owns the resource: allowed, unless the resource policy denies
//! ```
//!
//! Absent on purpose: stores, clocks, requests. The moment and everything a condition may ask for come in a
//! [`Context`].
//!
//! Invariants: a matching `Deny` always wins; the order of statements and of policies does not matter; what is not
//! allowed is denied; a document that can't be understood whole is no policy.

mod arn;
mod condition;
mod context;
mod date;
mod document;
mod evaluate;
mod managed;
mod pattern;
mod principal;
#[cfg(test)]
mod properties;
mod statement;
#[cfg(test)]
mod tests;

pub use context::Context;
pub use document::{Policy, PolicyError, PolicyKind};
pub use evaluate::{Decision, Policies, Refusal, Request, allows, evaluate};
pub use managed::{ManagedPolicy, managed_policies, managed_policy};
pub use principal::Principal;
