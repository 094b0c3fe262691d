//! What needs `unsafe`: calls that take memory of the guest, or that have no safe wrapper elsewhere. The only place of
//! this crate with it.
#![expect(unsafe_code, reason = "system calls on guest memory, and ioctls, which safe wrappers don't cover")]

pub(crate) mod event;
pub(crate) mod populate;
pub(crate) mod stream;
pub(crate) mod vcpu;
