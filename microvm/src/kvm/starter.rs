//! The thread that starts `hearth-vmm` processes: it sits in a mount namespace of its own that has the empty root, and,
//! on cgroup version 1, in the groups of the *next* process. Processes are started ahead of time and wait, jailed and
//! greeted, for the machine they are to be: what a boot or a restore pays for is that machine only.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use hearth_vmm::control::{Request, VERSION, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use seccompiler::BpfProgram;

use super::entry::{self, Entry, OPEN_FILES_MAX, THREADS_MAX};
use super::machine::OVERHEAD_MIN_BYTES;
use crate::cgroup::{Berth, Group};
use crate::ids::{Ids, Lease};
use crate::jail::NAMESPACES;
use crate::program::limit_open_files;
use crate::sandbox::Limits;
use crate::state::State;
use crate::sys::spawn::{SpawnError, Spawned, out_of_the_way, spawn};

/// What a process may use while it waits for its machine.
const WAITING_LIMITS: Limits = Limits {
    memory_bytes: OVERHEAD_MIN_BYTES,
    milli_cpus: 1_000,
    max_processes: THREADS_MAX,
    max_open_files: OPEN_FILES_MAX,
    tmp_bytes: 0,
};

/// What starting needs, owned by the thread.
pub(super) struct Starter {
    program: OwnedFd,
    filter: BpfProgram,
    state: Arc<State>,
    ids: Arc<Ids>,
    berth: Berth,
    settings: Settings,
    serial: u64,
}

/// The part of the launcher's configuration that starting needs.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) cpus: Option<String>,
    /// By resource limit, for want of a control group.
    pub(super) limit_threads: bool,
    /// `/dev/kvm`, of which each process makes its VM while it waits.
    pub(super) kvm: Arc<File>,
}

/// A jailed `hearth-vmm` that has no machine yet.
pub(super) struct Vmm {
    pub(super) spawned: Spawned,
    /// Our end of the control socket.
    pub(super) control: OwnedFd,
    /// Where what it says of its end can be read.
    pub(super) words: OwnedFd,
    pub(super) group: Group,
    pub(super) ids: Lease,
    /// The name of its record, until it is a sandbox.
    pub(super) record: String,
}

impl Starter {
    /// On the thread that will start processes.
    pub(super) fn new(
        program: OwnedFd,
        filter: BpfProgram,
        state: Arc<State>,
        ids: Arc<Ids>,
        mut berth: Berth,
        settings: Settings,
    ) -> io::Result<Self> {
        entry::prepare_root(&state.directory().join("root"))?;
        berth.prepare()?;
        Ok(Self { program, filter, state, ids, berth, settings, serial: 0 })
    }

    /// Starts a process. Leaves nothing if it fails.
    pub(super) fn start(&mut self) -> Result<Vmm, SpawnError> {
        let group = self.berth.take().map_err(|error| SpawnError::new("make cgroups", error))?;
        match self.start_in(&group) {
            Ok((spawned, control, words, ids, record)) => Ok(Vmm { spawned, control, words, group, ids, record }),
            Err(error) => {
                self.berth.abandon(&group);
                Err(error)
            }
        }
    }

    /// Makes the next process's groups, and so takes this thread out of the last one's.
    pub(super) fn prepare_berth(&mut self) -> io::Result<()> {
        self.berth.prepare()
    }

    fn start_in(&mut self, group: &Group) -> Result<(Spawned, OwnedFd, OwnedFd, Lease, String), SpawnError> {
        let step = |name: &'static str| move |error: io::Error| SpawnError::new(name, error);
        group.apply(&WAITING_LIMITS, self.settings.cpus.as_deref()).map_err(step("set limits"))?;
        let ids = self.ids.lease().map_err(step("take a user id"))?;
        let (control, theirs) = control_socket().map_err(step("socketpair"))?;
        let (words, their_words) = words_pipe().map_err(step("pipe"))?;
        let entry = Entry {
            program: &self.program,
            control: theirs,
            words: their_words,
            filter: &self.filter,
            change_user: !self.ids.only_own(),
            limit_threads: self.settings.limit_threads,
        };
        let script = entry::script(entry).map_err(step("prepare"))?;
        self.serial += 1;
        let record = self.state.nameless(self.serial);
        let mut written = false;
        let spawned = spawn(script, NAMESPACES, group.clone_into(), |pid, _| {
            limit_open_files(pid, OPEN_FILES_MAX).map_err(step("limit open files"))?;
            map_id(pid, &ids, self.ids.only_own()).map_err(step("map the user id"))?;
            self.state.write_sandbox(&record, pid).map_err(step("write the record"))?;
            written = true;
            Ok(())
        })
        .inspect_err(|_| {
            if written {
                self.state.forget_sandbox(&record);
            }
        })?;
        // The child took another user while it shared our memory; the kernel then treats us as set-user-id.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
        // The answer is read when a machine is asked for; a process that has ended until then is found out there.
        let _ = send(&control, &Request::Hello { version: VERSION, kvm: Some(0) }, &[self.settings.kvm.as_fd()]);
        Ok((spawned, control, words, ids, record))
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        self.berth.close();
        self.state.forget_groups();
    }
}

impl Vmm {
    /// Whether it has not ended.
    pub(super) fn is_alive(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.spawned.pidfd, PollFlags::IN)], Some(&now)) == Ok(0)
    }

    /// Ends it and removes its groups and its record, waiting for that on this thread.
    pub(super) fn destroy(self, state: &State) -> io::Result<()> {
        // One that has ended by itself can't be signalled, and need not be.
        let _ = pidfd_send_signal(&self.spawned.pidfd, Signal::KILL);
        waitid(WaitId::PidFd(self.spawned.pidfd.as_fd()), WaitIdOptions::EXITED)?;
        self.group.remove()?;
        state.forget_sandbox(&self.record);
        Ok(())
    }
}

/// One packet a message; our end never blocks.
fn control_socket() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, out_of_the_way(theirs)?))
}

/// Its reading end, and the writing end: a full pipe loses words, and blocks nobody.
fn words_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    Ok((read, out_of_the_way(write)?))
}

/// User and group 0 of its namespace are the first of its ids outside, and there are no others.
fn map_id(pid: Pid, ids: &Lease, only_own: bool) -> io::Result<()> {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    if only_own {
        // Without a privilege over groups the kernel wants groups fixed first.
        fs::write(process.join("setgroups"), "deny")?;
    }
    let map = format!("0 {} 1\n", ids.range.first);
    fs::write(process.join("gid_map"), &map)?;
    fs::write(process.join("uid_map"), &map)
}
