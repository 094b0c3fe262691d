//! A child process from a program that has threads, in new namespaces and in a cgroup from its first instant.
//!
//! The child shares this process's memory until it executes its program (nothing is copied, however large we are),
//! runs on a stack of its own, and does nothing but the system calls of a [`Script`]. It holds while it does: the
//! parent may not free the script or the stack before the child has left our memory. Leaving closes the child's end of
//! a pipe, and [`spawn`] returns only after that.
#![expect(unsafe_code, reason = "clone3 and what the child does until exec exist in no library")]

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::script::{Arg, Expect, Script};
use super::syscall;

/// Longest time a child may take from birth to program; a mount that hangs is the only reason to come near.
const SETUP_TIMEOUT: Duration = Duration::from_secs(20);
/// The child's stack, 16-byte units: it runs one function that calls nothing but the kernel.
const STACK_UNITS: usize = 32 * 1024 / 16;
/// Descriptors the child takes over get at least this number, so that they can't collide with 0–3, which it fills.
const LOWEST_FD: i32 = 16;

/// Flags of clone3 that libc's type is too small for (linux/sched.h).
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A started process.
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

/// Why there is no process; none is left.
#[derive(Debug)]
pub(crate) struct SpawnError {
    pub(crate) step: String,
    pub(crate) source: io::Error,
}

impl SpawnError {
    pub(crate) fn new(step: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { step: step.into(), source: source.into() }
    }
}

impl From<io::Error> for SpawnError {
    /// Of the thread that was to be its parent.
    fn from(source: io::Error) -> Self {
        Self::new("start a thread", source)
    }
}

/// Moves a descriptor out of the way of 0–3 (close-on-exec), for use in a script.
pub(crate) fn out_of_the_way(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, LOWEST_FD)?)
}

/// Starts a child with `namespaces` (`CLONE_NEW…` flags), in the v2 cgroup `cgroup` if given, carries out `script` in
/// it and returns when its program runs. `prepare` is called with the child's id while the child waits, before the
/// first step; if it fails, the child ends.
pub(crate) fn spawn(
    script: Script,
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    prepare: impl FnOnce(Pid, BorrowedFd<'_>) -> Result<(), SpawnError>,
) -> Result<Spawned, SpawnError> {
    let (go_read, go_write) = pipe()?;
    let (errors_read, errors_write) = pipe()?;
    let mut byte = Box::new(0_u8);
    let mut whole = Script::default();
    // Everything above 3 is closed by exec; this also gives up at once what other threads' children wait for.
    let above = [Arg::Number(4), Arg::Number(u64::from(u32::MAX)), Arg::Number(u64::from(libc::CLOSE_RANGE_CLOEXEC))];
    whole.step("close_range", libc::SYS_close_range, above);
    // Its own copy of the writing end would keep the child waiting for a parent that is gone.
    whole.step("close", libc::SYS_close, [Arg::Number(go_write.as_raw_fd() as u64)]);
    whole.read_one_byte(go_read.as_raw_fd(), &mut *byte);
    whole.append(script);
    let plan = Plan { steps: whole.steps.as_ptr(), count: whole.steps.len(), errors: errors_write.as_raw_fd() };
    let mut stack = vec![MaybeUninit::<u128>::uninit(); STACK_UNITS];

    let spawned = clone(&plan, &mut stack, namespaces, cgroup)?;
    // The child has its own copies of these two: what is read next ends when the child's end.
    drop((go_read, errors_write));
    let prepared = prepare(spawned.pid, spawned.pidfd.as_fd());
    if prepared.is_ok() {
        // A child that is already dead says so through the pipe of errors.
        let _ = std::fs::File::from(go_write).write(&[1]);
    } else {
        drop(go_write);
        let _ = pidfd_send_signal(&spawned.pidfd, Signal::KILL);
    }
    let outcome = wait_until_it_left_our_memory(&spawned, errors_read, &whole);
    // Here the child has its program or is gone, and the memory it shared may go.
    drop((whole, stack, byte));
    match prepared.and(outcome) {
        Ok(()) => Ok(spawned),
        Err(error) => {
            let _ = pidfd_send_signal(&spawned.pidfd, Signal::KILL);
            let _ = waitid(WaitId::PidFd(spawned.pidfd.as_fd()), WaitIdOptions::EXITED);
            Err(error)
        }
    }
}

/// What the child reads; lives in the parent's frame.
struct Plan {
    steps: *const super::script::Step,
    count: usize,
    errors: i32,
}

fn clone(
    plan: &Plan,
    stack: &mut [MaybeUninit<u128>],
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Spawned, SpawnError> {
    let mut pidfd: i32 = -1;
    // SAFETY: all fields are integers for which zero is valid. Needed because libc's struct has no constructor.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (libc::CLONE_VM | libc::CLONE_PIDFD) as u64 | CLONE_CLEAR_SIGHAND | namespaces;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.stack = stack.as_mut_ptr() as u64;
    args.stack_size = size_of_val(stack) as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    let signals = BlockedSignals::all();
    // SAFETY: the stack is `stack`, aligned as u128 (16) with a length that is a multiple of it; the caller of this
    // function keeps it, the plan and the script until the child has left our memory. The child runs `carry_out`,
    // which makes system calls only. No signal handler can run in it on our memory: signals are blocked here and its
    // handlers are cleared. Needed because no library clones with shared memory into namespaces.
    let answer = unsafe { syscall::clone3(&args, carry_out, plan) };
    drop(signals);
    if answer < 0 {
        return Err(SpawnError::new("clone", io::Error::from_raw_os_error(-answer as i32)));
    }
    // SAFETY: the kernel stored a new descriptor that nobody else owns. Needed to take ownership of it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = Pid::from_raw(answer as i32).ok_or_else(|| SpawnError::new("clone", io::ErrorKind::InvalidData))?;
    Ok(Spawned { pid, pidfd })
}

/// The child: every step in order; the first failure is told and ends it. The last step executes the program.
///
/// # Safety
/// `plan` and what it leads to stay valid and unchanged until this process has executed or exited.
unsafe extern "C" fn carry_out(plan: *const Plan) -> ! {
    // SAFETY: the caller's promise; read only.
    let plan = unsafe { &*plan };
    let mut previous: isize = 0;
    let mut index = 0;
    while index < plan.count {
        // SAFETY: within the list, which the parent keeps.
        let step = unsafe { &*plan.steps.add(index) };
        let [mut a, mut b, mut c, d, e, f] = step.args;
        match step.previous {
            0 => a = previous as usize,
            1 => b = previous as usize,
            2 => c = previous as usize,
            _ => {}
        }
        // SAFETY: `Script` made the arguments: numbers, or pointers to memory it owns, as the call wants them.
        let answer = unsafe { syscall::call(step.number, [a, b, c, d, e, f]) };
        let fine = match step.expect {
            Expect::Success => answer >= 0,
            Expect::Exactly(wanted) => answer == wanted,
        };
        if !fine {
            let errno = if answer < 0 { answer.wrapping_neg() as u32 } else { libc::EPIPE as u32 };
            let report = [index as u32, errno];
            // SAFETY: eight bytes of our own stack. A full or closed pipe only loses the message.
            unsafe { syscall::call(libc::SYS_write, [plan.errors as usize, report.as_ptr() as usize, 8, 0, 0, 0]) };
            break;
        }
        previous = answer;
        index = index.wrapping_add(1);
    }
    loop {
        // SAFETY: ends this process; touches no memory.
        unsafe { syscall::call(libc::SYS_exit_group, [127, 0, 0, 0, 0, 0]) };
    }
}

/// Returns when the child's end of `errors` is closed: it has executed its program (close-on-exec comes after the
/// change of memory), or exited. Gives a child that takes too long no more time.
fn wait_until_it_left_our_memory(spawned: &Spawned, errors: OwnedFd, script: &Script) -> Result<(), SpawnError> {
    let timeout = Timespec { tv_sec: SETUP_TIMEOUT.as_secs() as i64, tv_nsec: 0 };
    let mut timed_out = false;
    loop {
        match poll(&mut [PollFd::new(&errors, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => {
                timed_out = true;
                let _ = pidfd_send_signal(&spawned.pidfd, Signal::KILL);
                break;
            }
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(SpawnError::new("poll", error)),
        }
    }
    let mut report = Vec::new();
    std::fs::File::from(errors).take(64).read_to_end(&mut report).map_err(|error| SpawnError::new("read", error))?;
    match report.first_chunk::<8>() {
        _ if timed_out => Err(SpawnError::new("set-up", io::ErrorKind::TimedOut)),
        None => Ok(()),
        Some(bytes) => {
            let (index, errno) = bytes.split_at(4);
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
            Err(SpawnError::new(
                script.name(number(index) as usize),
                io::Error::from_raw_os_error(number(errno) as i32),
            ))
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), SpawnError> {
    let make = || -> io::Result<_> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok((out_of_the_way(read)?, out_of_the_way(write)?))
    };
    make().map_err(|error| SpawnError::new("pipe", error))
}

/// No signal is handled on this thread while this lives.
struct BlockedSignals {
    before: libc::sigset_t,
}

impl BlockedSignals {
    fn all() -> Self {
        // SAFETY: plain integers; both are filled before they are read. Needed because std can't block signals.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Self { before }
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: restores what `all` read on this thread; the type is not Send in practice: it never leaves `clone`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}
