//! MicroVMs: each sandbox a machine of its own on KVM, run by a `hearth-vmm` process that is itself in a jail.
//!
//! ```text
//!  KvmLauncher ── spares: processes that wait, jailed ([`starter`], [`entry`], [`filter`])
//!      │ boot(spec)                                │ take
//!      ├─▶ boot image ([`boot_images`]: kernel, [`initramfs`], [`command_line`]; made once a kind)
//!      └─▶ Machine ◀── control socket ([`control`]) ──▶ hearth-vmm ── channel ──▶ the guest's shim
//!  restore(spec): the same with a snapshot ([`snapshots`]) in place of the boot image
//! ```
//!
//! | wall around `hearth-vmm` | made by |
//! | --- | --- |
//! | files | an empty, read-only root; every descriptor it has was sent to it |
//! | processes, users, IPC, host name, network, cgroups | namespaces, empty; one host user id of its own, no other mapped |
//! | privileges | none: no capability, none to be had, no new privileges |
//! | system calls | an allow-list, which it narrows for each of its threads |
//! | resources | control groups as large as the machine and a named overhead; few files, no core, bounded writes |
//!
//! A process costs what it costs before anybody asks for it: a bounded number wait, and a boot or restore pays for its
//! machine only. Absent on purpose: functions; networks (a machine has none, as a jail has none).
//!
//! Invariants: what runs in a machine was in its cgroup from its first instant · a boot image is made once for each
//! kind of machine and never changes · nothing that a `hearth-vmm` says is believed beyond its own machine · a
//! machine's process has the launcher's thread for a parent, and dies with it.

mod boot_images;
mod command_line;
mod control;
mod entry;
mod filter;
mod images;
mod initramfs;
mod launcher;
mod machine;
pub mod manifest;
mod named_kernel;
mod origin;
mod snapshots;
mod spares;
mod starter;

use std::io;
use std::path::PathBuf;

pub use hearth_vmm::control::RateLimit;
pub use launcher::KvmLauncher;
pub use named_kernel::NamedKernelError;
pub use spares::SPARES_MAX;

use self::manifest::{Kernel, ManifestError};
use crate::jail::FIRST_UID;

/// Processes that wait for a machine, unless configured.
pub const SPARES: usize = 4;

/// How a [`KvmLauncher`] works.
#[derive(Debug, Clone)]
pub struct KvmConfig {
    /// For this launcher alone; lists what exists, so that a successor can remove it. Boot images lie on its file
    /// system.
    pub state_dir: PathBuf,
    /// Where launchers of this host agree on who uses which user ids.
    pub lock_dir: PathBuf,
    /// The program `hearth-vmm`, linked statically.
    pub vmm: PathBuf,
    /// The directory that `cargo xtask guest-image` fills.
    pub guest_images: PathBuf,
    /// Another kernel than the images' own, with absolute paths ([`Kernel::named`]).
    pub kernel: Option<Kernel>,
    /// The cgroup beneath which machines get theirs, from each hierarchy's mount; the process's own if absent.
    pub cgroup_parent: Option<PathBuf>,
    /// CPUs that machines may run on, as the kernel lists them (`0-3,6`); all if absent.
    pub cpus: Option<String>,
    /// First of the host user ids that are for sandboxes (2³¹ − this many follow).
    pub first_uid: u32,
    /// Bytes a second that a machine may read from each of its drives, if limited.
    pub drive_bandwidth: Option<RateLimit>,
    /// Requests a second to each of its drives, if limited.
    pub drive_requests: Option<RateLimit>,
    /// Whether to ask for transparent huge pages for guest memory.
    pub huge_pages: bool,
    /// Processes that wait for a machine, at most [`SPARES_MAX`].
    pub spares: usize,
    /// A directory that gets a file `ID.log` with the serial console of each machine, for debugging; without it
    /// machines have no console, and boot faster.
    pub console_dir: Option<PathBuf>,
}

impl KvmConfig {
    /// The usual, with this state directory, this `hearth-vmm` and these guest images.
    pub fn new(state_dir: impl Into<PathBuf>, vmm: impl Into<PathBuf>, guest_images: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            lock_dir: PathBuf::from("/run/hearth"),
            vmm: vmm.into(),
            guest_images: guest_images.into(),
            kernel: None,
            cgroup_parent: None,
            cpus: None,
            first_uid: FIRST_UID,
            drive_bandwidth: None,
            drive_requests: None,
            huge_pages: false,
            spares: SPARES,
            console_dir: None,
        }
    }
}

/// MicroVMs can't be made here.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// KVM does not answer.
    #[error("/dev/kvm: {0}; `hearth doctor` says what to do")]
    Device(#[source] io::Error),
    /// KVM is not what is needed.
    #[error("KVM does not tell what processors it offers to guests: {0}; `hearth doctor` says what to do")]
    Processor(String),
    /// There is no `hearth-vmm`.
    #[error("{path}: {source}; it belongs beside hearth (`make build` puts it there)")]
    Vmm {
        /// Where it was looked for.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// There are no guest images.
    #[error(transparent)]
    Images(#[from] ManifestError),
    /// No `hearth-vmm` could be started in its jail.
    #[error(
        "hearth-vmm does not start in its jail: {step}: {source}; it must be linked statically (`make build`), and `hearth doctor` says what a jail needs"
    )]
    Start {
        /// Which step failed.
        step: String,
        /// The operating system's word.
        source: io::Error,
    },
    /// Something all machines share could not be prepared.
    #[error("microVMs can't be made: {step}: {source}")]
    Prepare {
        /// Which step failed.
        step: &'static str,
        /// The operating system's word.
        source: io::Error,
    },
}
