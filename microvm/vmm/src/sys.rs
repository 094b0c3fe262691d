//! What needs `unsafe`: calls that take memory of the guest.
#![expect(unsafe_code, reason = "system calls on guest memory, which safe wrappers can't take")]

pub(crate) mod event;
pub(crate) mod stream;
