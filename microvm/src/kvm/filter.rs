//! The seccomp filter that `hearth-vmm` is executed under: all that it does from its first instruction on. It narrows
//! itself further before a guest runs, for each of its threads; a filter can only ever be added to.
//!
//! Calls are allowed whatever their arguments, so that the kernel answers from a table and no call pays for the list.
//! Absent on purpose: whatever takes a path or makes a socket, and everything that starts another program but the one
//! `execveat` that starts this one.

use std::collections::BTreeMap;
use std::ffi::c_long;

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// What `hearth-vmm` may call. Everything else answers "not permitted".
const ALLOWED: &[c_long] = &[
    // Its start, from a descriptor, and its threads.
    libc::SYS_execveat,
    libc::SYS_brk,
    libc::SYS_arch_prctl,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prlimit64,
    libc::SYS_getrandom,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_prctl,
    libc::SYS_seccomp,
    libc::SYS_restart_syscall,
    // Memory: the guest's and its own.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_msync,
    // Descriptors that it was given, and those KVM and the event loop make.
    libc::SYS_ioctl,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // The control socket and the channel.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    // Time and signals, by which a vCPU's thread is called out of the guest.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigpending,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_tgkill,
    libc::SYS_tkill,
];

/// The older forms that x86-64 has of some of them.
#[cfg(target_arch = "x86_64")]
const ALLOWED_BY_ARCHITECTURE: &[c_long] = &[libc::SYS_poll, libc::SYS_epoll_wait];
/// Nothing beside [`ALLOWED`].
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_BY_ARCHITECTURE: &[c_long] = &[];

/// The filter, ready to be installed.
pub(super) fn program() -> Result<BpfProgram, BackendError> {
    let rules: BTreeMap<_, _> = ALLOWED.iter().chain(ALLOWED_BY_ARCHITECTURE).map(|call| (*call, Vec::new())).collect();
    let otherwise = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, SeccompAction::Allow, architecture)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_takes_a_path_makes_a_socket_or_looks_at_others_is_allowed() {
        let outside = [
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_open,
            libc::SYS_open_by_handle_at,
            libc::SYS_execve,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_kill,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
        ];
        let allowed = |call| ALLOWED.contains(call) || ALLOWED_BY_ARCHITECTURE.contains(call);
        assert_eq!(outside.iter().filter(|call| allowed(call)).count(), 0);
        const BPF_MAXINSNS: usize = 4096;
        let program = program().unwrap();
        assert!(program.len() > ALLOWED.len() && program.len() <= BPF_MAXINSNS, "{}", program.len());
    }
}
