//! Code from `protocol/proto`, made by `cargo xtask gen`. Seen by this crate only: outside, there are domain types.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "not written by people"
)]

#[rustfmt::skip]
pub(crate) mod v1;
