//! Snapshots: a machine at rest, from which any number of machines go on.
//!
//! The memory is not written when a snapshot is taken: the machine has run on a shared mapping of the file from the
//! start, so that what remains is a few KiB of [`MachineState`]. A restore maps the same file privately, so it pays for
//! the pages it touches and shares those it only reads.
//!
//! - In `hearth-vmm`: [`VcpuState`], [`tsc`], [`VmState`] read and write the state in KVM; [`MachineState`] is all of
//!   it, and [`format`](self::format) its file.
//! - In the launcher: [`Draft`] and [`Snapshot`] are the directory, [`HostCpu`] says whether this host will do,
//!   [`prefetch`] which pages to bring in ahead.
//!
//! Order of a restore: chips · per vCPU CPUID and registers · time stamp counters of all · per vCPU local APIC, MSRs,
//! events · clock · devices · vCPUs run.
//!
//! Absent on purpose: reading other versions or builds (a snapshot is a cache: it is made anew), compression,
//! differences between snapshots, flushing to disk; the serial console's registers (it is for debugging, and Linux sets
//! them with every output).

mod checksum;
mod cpu;
mod directory;
mod error;
pub mod format;
mod machine;
mod msr;
pub mod prefetch;
mod sparse;
#[cfg(test)]
mod tests;
pub mod tsc;
mod vcpu;
mod vm;

pub use checksum::Checksums;
pub use cpu::HostCpu;
pub use directory::{Draft, Snapshot};
pub use error::{Refusal, StateError};
pub use format::BUILD;
pub use machine::{MachineState, SavedDevice};
pub use msr::saved_msrs;
pub use sparse::copy_sparse;
pub use vcpu::VcpuState;
pub use vm::VmState;
