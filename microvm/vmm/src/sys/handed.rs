//! Descriptors that were handed to this process.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use kvm_ioctls::Kvm;

/// KVM behind `/dev/kvm`. Any descriptor will do: on another kind its requests fail.
pub(crate) fn kvm(device: OwnedFd) -> Kvm {
    // SAFETY: the descriptor is open and owned by nothing else from here on.
    unsafe { Kvm::from_raw_fd(device.into_raw_fd()) }
}

/// The descriptor that this process was started with at `number`, once.
pub(crate) fn inherited(number: RawFd) -> Option<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return None;
    }
    // SAFETY: nothing else of this process knows the number: it opened nothing before, and this happens once. Should
    // no such descriptor be open, each use of it fails.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
