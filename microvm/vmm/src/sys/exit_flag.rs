//! `kvm_run.immediate_exit` of a vCPU, from threads other than its own.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kvm_ioctls::VcpuFd;

/// While it is raised, `KVM_RUN` completes the exit before and returns at once (`KVM_CAP_IMMEDIATE_EXIT`). Together
/// with a signal to the thread it stops a vCPU without a race: raised before the signal, it catches the thread that was
/// just about to enter the guest.
#[derive(Clone)]
pub(crate) struct ExitFlag {
    at: NonNull<u8>,
    /// Keeps the mapping that `at` points into.
    _vcpu: Arc<Mutex<VcpuFd>>,
}

// SAFETY: the byte is only ever accessed atomically, and lives as long as the vCPU's descriptor, which is held.
unsafe impl Send for ExitFlag {}
// SAFETY: as above.
unsafe impl Sync for ExitFlag {}

impl ExitFlag {
    pub(crate) fn new(vcpu: &Arc<Mutex<VcpuFd>>) -> Self {
        let mut locked = vcpu.lock().unwrap_or_else(PoisonError::into_inner);
        let at = NonNull::from(&mut locked.get_kvm_run().immediate_exit);
        Self { at, _vcpu: Arc::clone(vcpu) }
    }

    pub(crate) fn raise(&self) {
        self.byte().store(1, Ordering::SeqCst);
    }

    pub(crate) fn lower(&self) {
        self.byte().store(0, Ordering::SeqCst);
    }

    fn byte(&self) -> &AtomicU8 {
        // SAFETY: `at` points into the mapping that `_vcpu` keeps; nobody makes a reference to the byte, and the kernel
        // reads it once for each KVM_RUN.
        unsafe { AtomicU8::from_ptr(self.at.as_ptr()) }
    }
}
