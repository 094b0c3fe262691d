//! One vCPU: its descriptor, its thread, and what happens on each exit from the guest.
//!
//! The thread holds the lock of the descriptor while the guest runs and gives it back when the [`Gate`] closes; so
//! whoever closed the gate can read and set the vCPU's state.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use kvm_ioctls::{VcpuExit, VcpuFd};
use seccompiler::BpfProgram;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use super::gate::Gate;
use super::stop::Stop;
use crate::bus::Bus;
use crate::control::StopReason;
use crate::sys::exit_flag::ExitFlag;

/// Stack of a vCPU's thread, bytes: registers of devices are all it works on.
const STACK_BYTES: usize = 128 * 1024;

/// What all vCPUs of a machine share.
pub(super) struct Surroundings {
    pub(super) gate: Gate,
    pub(super) stop: Arc<Stop>,
    pub(super) memory_bus: Bus,
    pub(super) port_bus: Bus,
    /// Exits to this process.
    pub(super) exits: AtomicU64,
    /// What system calls a vCPU's thread may make.
    pub(super) filter: Option<BpfProgram>,
}

/// A vCPU as the main thread sees it.
pub(super) struct Vcpu {
    fd: Arc<Mutex<VcpuFd>>,
    flag: ExitFlag,
    thread: Option<JoinHandle<()>>,
}

impl Vcpu {
    pub(super) fn new(fd: VcpuFd) -> Self {
        let fd = Arc::new(Mutex::new(fd));
        Self { flag: ExitFlag::new(&fd), fd, thread: None }
    }

    /// Its descriptor. Waits while the vCPU runs.
    pub(super) fn fd(&self) -> MutexGuard<'_, VcpuFd> {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts its thread, which waits at the gate.
    pub(super) fn spawn(&mut self, index: usize, around: &Arc<Surroundings>) -> io::Result<()> {
        let (fd, flag, around) = (Arc::clone(&self.fd), self.flag.clone(), Arc::clone(around));
        let builder = Builder::new().name(format!("vcpu{index}")).stack_size(STACK_BYTES);
        self.thread = Some(builder.spawn(move || live(&fd, &flag, &around))?);
        Ok(())
    }

    /// Makes it leave the guest, now or before it enters.
    pub(super) fn kick(&self) {
        self.flag.raise();
        if let Some(thread) = &self.thread {
            // Fails only for a thread that has ended.
            let _ = thread.kill(SIGRTMIN());
        }
    }

    /// Waits for the end of its thread.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told the gate by unwinding; there is nothing to hand on.
            let _ = thread.join();
        }
    }
}

/// Has the signal of [`Vcpu::kick`] interrupt system calls and do nothing else.
pub(super) fn prepare_signal() -> io::Result<()> {
    extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    register_signal_handler(SIGRTMIN(), nothing).map_err(io::Error::from)
}

fn live(fd: &Mutex<VcpuFd>, flag: &ExitFlag, around: &Surroundings) {
    if let Some(Err(error)) = around.filter.as_deref().map(seccompiler::apply_filter) {
        return around.stop.because(failed(format!("a vCPU's thread can't be confined: {error}")));
    }
    while around.gate.enter() {
        let mut vcpu = fd.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = run(&mut vcpu, flag, around);
        drop(vcpu);
        around.gate.leave();
        if let Some(reason) = ended {
            return around.stop.because(reason);
        }
    }
}

/// Runs the guest until the gate closes, or until the machine has to stop: then the reason.
fn run(vcpu: &mut VcpuFd, flag: &ExitFlag, around: &Surroundings) -> Option<StopReason> {
    loop {
        match vcpu.run() {
            Ok(exit) => {
                around.exits.fetch_add(1, Ordering::Relaxed);
                if let Some(reason) = handle(exit, around) {
                    return Some(reason);
                }
            }
            Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {
                flag.lower();
                if around.gate.is_closed() {
                    return None;
                }
            }
            Err(error) => return Some(failed(format!("KVM_RUN: {error}"))),
        }
    }
}

fn handle(exit: VcpuExit<'_>, around: &Surroundings) -> Option<StopReason> {
    match exit {
        VcpuExit::MmioRead(address, data) => around.memory_bus.read(address, data),
        VcpuExit::MmioWrite(address, data) => around.memory_bus.write(address, data),
        VcpuExit::IoIn(port, data) => around.port_bus.read(port.into(), data),
        VcpuExit::IoOut(port, data) => around.port_bus.write(port.into(), data),
        VcpuExit::Shutdown | VcpuExit::SystemEvent(..) => return Some(StopReason::Reset),
        VcpuExit::Hlt | VcpuExit::Intr | VcpuExit::IrqWindowOpen => {}
        other => return Some(failed(format!("KVM could not go on: {other:?}"))),
    }
    None
}

fn failed(reason: String) -> StopReason {
    StopReason::Failed { reason }
}
