//! What needs `unsafe`: calls that take memory of the guest or memory shared with KVM, descriptors that were handed
//! over, and what else has no safe wrapper. The only place of this crate with it.
#![expect(unsafe_code, reason = "system calls on guest memory, ioctls and inherited descriptors have no safe wrappers")]

pub(crate) mod event;
pub(crate) mod exit_flag;
pub(crate) mod guest_memory;
pub(crate) mod handed;
pub(crate) mod memory;
pub(crate) mod populate;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod vcpu;
