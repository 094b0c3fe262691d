//! A jail: a program in namespaces, control groups and a seccomp filter of its own, on the host's kernel.
//!
//! | wall | made by |
//! | --- | --- |
//! | files | mount namespace, `pivot_root` into a shared read-only tree ([`root`]) |
//! | processes, users, IPC, host name, cgroups | namespaces; each sandbox has host user ids of its own ([`crate::ids`]) |
//! | network | an empty namespace with loopback up |
//! | privileges | three capabilities over its own user namespace, no new privileges ([`entry`]) |
//! | system calls | an allow-list ([`policy`], [`filter`]) |
//! | resources | control groups ([`crate::cgroup`]), sizes of `/tmp` and `/dev/shm` |
//! | devices | five device files on mounts where no other works; no capability to make one; on cgroup version 1 also the devices controller (version 2 would want an eBPF program for what already holds) |
//!
//! How a boot goes: the builder thread ([`builder`]) clones a child straight into all of that; the child carries out
//! a list of system calls ([`entry`]) that ends in the program. Code is attached later, from outside ([`doorman`]).
//!
//! Invariants: whatever runs in a sandbox was in its cgroup from its first instant · nothing of a sandbox is in the
//! host's mount table, so nothing can be left there · a sandbox's parent is the builder thread, and it dies with it.

mod builder;
mod cell;
mod doorman;
mod entry;
mod filter;
mod launcher;
mod policy;
mod root;
mod rootless;
pub(crate) mod unenforced;

use std::io;
use std::path::PathBuf;

pub(crate) use entry::NAMESPACES;
pub use launcher::JailLauncher;
pub(crate) use root::{TASK_ROOT, USER};
pub(crate) use rootless::own_ids;
pub use rootless::{RootlessError, enter_rootless};

/// First host user id given to sandboxes, unless configured: above what distributions and subuid files hand out.
pub const FIRST_UID: u32 = 2_000_000;
/// Size of `/dev/shm` in a sandbox, bytes, unless configured; its pages count as the sandbox's memory.
pub const SHM_BYTES: u64 = 64 * 1024 * 1024;

/// How a [`JailLauncher`] works.
#[derive(Debug, Clone)]
pub struct JailConfig {
    /// For this launcher alone; lists what exists, so that a successor can remove it.
    pub state_dir: PathBuf,
    /// Where launchers of this host agree on who uses which user ids.
    pub lock_dir: PathBuf,
    /// The cgroup beneath which sandboxes get theirs, from each hierarchy's mount; the process's own if absent.
    pub cgroup_parent: Option<PathBuf>,
    /// CPUs that sandboxes may run on, as the kernel lists them (`0-3,6`); all if absent.
    pub cpus: Option<String>,
    /// First of the host user ids that are for sandboxes (2³¹ − this many follow).
    pub first_uid: u32,
    /// Size of `/dev/shm`, bytes.
    pub shm_bytes: u64,
}

impl JailConfig {
    /// The usual, with this state directory.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            lock_dir: PathBuf::from("/run/hearth"),
            cgroup_parent: None,
            cpus: None,
            first_uid: FIRST_UID,
            shm_bytes: SHM_BYTES,
        }
    }
}

/// Jails can't be made here.
#[derive(Debug, thiserror::Error)]
#[error("no jail on this host: {step}")]
pub struct JailError {
    /// Which step failed.
    pub step: &'static str,
    /// The operating system's word.
    pub source: io::Error,
}

impl JailError {
    fn new(step: &'static str, source: io::Error) -> Self {
        Self { step, source }
    }
}

/// Whether processes are bounded where no control group bounds them.
pub(crate) fn processes_limited_by_resource() -> bool {
    unenforced::Limit::by_resource()
}
