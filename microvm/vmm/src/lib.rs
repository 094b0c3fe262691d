//! `hearth-vmm`: a virtual machine monitor on KVM, one process for each microVM.
//!
//! ```text
//!  launcher ──control (fd 3, SOCK_SEQPACKET, descriptors ride along)──▶ machine ──▶ vCPU threads ── KVM_RUN
//!                                                                         │              │ exits
//!                                                                         ▼              ▼
//!                                              event loop ──▶ devices ◀── bus (MMIO, port I/O)
//! ```
//!
//! The process opens nothing: `/dev/kvm`, memory file, images, tap and the channel to the guest's shim all arrive as
//! descriptors over [`control`]. Guest memory is always the private mapping of a file: of a *boot image*
//! ([`boot`]: kernel, initial RAM disk, tables and command line at their places, made once) or of a snapshot. So a boot
//! copies nothing, and a restore is a boot with other registers.
//!
//! Absent on purpose: functions, runtimes, pools; files, paths, networks by name. The launcher in `hearth-microvm`
//! owns those.
//!
//! Invariants: guest memory is touched only through `vm-memory` · every byte that the guest wrote is hostile · a
//! device never blocks the event loop · nothing of the host is reachable but what was handed over.

pub mod boot;
pub mod bus;
mod confinement;
pub mod control;
pub mod devices;
mod event_loop;
#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
pub mod generation;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod snapshot;
mod sys;
