//! Which system calls `hearth-vmm` makes once its machine exists, by kind of thread. Anything else ends the process.
//!
//! The process has opened, mapped and created all it needs by then; so none of these opens a file, makes a socket or
//! starts a process. The jail's own filter lies below, with all that is needed before.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Kinds of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thread {
    /// Control and event loop.
    Main,
    /// A vCPU's.
    Vcpu,
}

/// A filter could not be made or installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The kernel refused it; it needs `PR_SET_NO_NEW_PRIVS`, which seccompiler sets.
    #[error(transparent)]
    Install(#[from] seccompiler::Error),
    /// It is wrong.
    #[error(transparent)]
    Compile(#[from] seccompiler::BackendError),
}

/// What every thread does: locks, memory of the allocator, eventfds, its end.
const COMMON: &[i64] = &[
    libc::SYS_futex,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_madvise,
    libc::SYS_clock_gettime,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_sched_yield,
];

/// The main thread: waits, talks to its launcher, and moves data for the devices.
const MAIN: &[i64] = &[
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_preadv,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_tgkill,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_timerfd_settime,
    libc::SYS_fallocate,
    libc::SYS_fcntl,
];

/// Of kind `thread`.
pub(crate) fn filter(thread: Thread) -> Result<BpfProgram, Failure> {
    let own: &[i64] = match thread {
        Thread::Main => MAIN,
        Thread::Vcpu => &[],
    };
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        COMMON.iter().chain(own).map(|call| (*call, Vec::new())).collect();
    // Memory may be mapped, but never to be executed.
    let no_code = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![no_code.clone()])?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![no_code])?]);
    rules.insert(libc::SYS_ioctl, requests(thread)?);
    let refuse = SeccompAction::KillProcess;
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, TargetArch::x86_64)?;
    Ok(filter.try_into()?)
}

/// KVM's requests: a vCPU's thread only runs the guest; the main thread reads and writes its state.
fn requests(thread: Thread) -> Result<Vec<SeccompRule>, Failure> {
    const KVM: u64 = 0xae;
    const KVM_RUN: u64 = 0xae80;
    let (compared, value) = match thread {
        Thread::Main => (SeccompCmpOp::MaskedEq(0xff00), KVM << 8),
        Thread::Vcpu => (SeccompCmpOp::Eq, KVM_RUN),
    };
    let condition = SeccompCondition::new(1, SeccompCmpArgLen::Dword, compared, value)?;
    Ok(vec![SeccompRule::new(vec![condition])?])
}

/// Confines the calling thread for good.
pub(crate) fn confine(thread: Thread) -> Result<(), Failure> {
    Ok(seccompiler::apply_filter(&filter(thread)?)?)
}
