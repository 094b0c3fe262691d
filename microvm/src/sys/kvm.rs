//! KVM by a descriptor that somebody has opened.
#![expect(unsafe_code, reason = "kvm-ioctls takes a descriptor it did not open on trust only")]

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use kvm_ioctls::Kvm;

/// Talks to KVM through `device`, which is `/dev/kvm`; to anything else it comes to errors.
pub(crate) fn of_device(device: OwnedFd) -> Kvm {
    // SAFETY: the descriptor is open, and ours alone from here on. Needed because the launcher keeps one descriptor of
    // the device, for all machines.
    unsafe { Kvm::from_raw_fd(device.into_raw_fd()) }
}
