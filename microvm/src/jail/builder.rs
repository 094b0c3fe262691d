//! The thread that boots sandboxes: it sits in a mount namespace of its own that has the shared root, and, on cgroup
//! version 1, in the groups of the *next* sandbox, so that the child is born in both.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use rustix::thread::UnshareFlags;
use seccompiler::BpfProgram;

use super::entry::{self, Entry};
use super::root::{self, Root};
use crate::cgroup::{Berth, Group, Parent};
use crate::ids::{Ids, Lease};
use crate::program::limit_open_files;
use crate::sandbox::{BootError, BootSpec};
use crate::state::State;
use crate::sys;
use crate::sys::spawn::{SpawnError, Spawned, out_of_the_way, spawn};

/// What booting needs, owned by the thread.
pub(super) struct Builder {
    root: Root,
    state: Arc<State>,
    ids: Arc<Ids>,
    filter: BpfProgram,
    settings: Settings,
    berth: Berth,
}

/// The part of the launcher's configuration that booting needs.
pub(super) struct Settings {
    pub(super) shm_bytes: u64,
    pub(super) cpus: Option<String>,
    /// By resource limit, for want of a control group.
    pub(super) limit_processes: bool,
}

/// A sandbox that runs.
pub(super) struct Booted {
    pub(super) spawned: Spawned,
    pub(super) channel: UnixStream,
    /// Its mount namespace.
    pub(super) mounts: OwnedFd,
    pub(super) group: Group,
    pub(super) ids: Lease,
}

impl Booted {
    /// Ends it and removes its groups, waiting for that on this thread.
    pub(super) fn destroy(self) -> io::Result<()> {
        pidfd_send_signal(&self.spawned.pidfd, Signal::KILL)?;
        waitid(WaitId::PidFd(self.spawned.pidfd.as_fd()), WaitIdOptions::EXITED)?;
        self.group.remove()
    }
}

impl Builder {
    /// On the thread that will boot.
    pub(super) fn new(
        state: Arc<State>,
        parent: Arc<Parent>,
        ids: Arc<Ids>,
        filter: BpfProgram,
        settings: Settings,
    ) -> io::Result<Self> {
        sys::identity::unshare(UnshareFlags::FS | UnshareFlags::NEWNS)?;
        // The thread's own now: files of the root are for all to read, whatever the process likes.
        rustix::process::umask(rustix::fs::Mode::from(0o022));
        let root = Root::prepare(&state.directory().join("root"))?;
        let mut berth = Berth::new(parent);
        berth.prepare()?;
        Ok(Self { root, state, ids, filter, settings, berth })
    }

    /// Boots. Leaves nothing if it fails.
    pub(super) fn boot(&mut self, spec: &BootSpec) -> Result<Booted, BootError> {
        let failed = |SpawnError { step, source }| BootError { id: spec.id.clone(), step, source };
        let group = self.berth.take().map_err(|error| failed(SpawnError::new("make cgroups", error)))?;
        match self.boot_in(spec, &group) {
            Ok((spawned, channel, mounts, ids)) => Ok(Booted { spawned, channel, mounts, group, ids }),
            Err(error) => {
                self.berth.abandon(&group);
                Err(failed(error))
            }
        }
    }

    /// Makes the next sandbox's groups ahead of time.
    pub(super) fn prepare_berth(&mut self) -> io::Result<()> {
        self.berth.prepare()
    }

    fn boot_in(&mut self, spec: &BootSpec, group: &Group) -> Result<(Spawned, UnixStream, OwnedFd, Lease), SpawnError> {
        let step = |name: &'static str| move |error: io::Error| SpawnError::new(name, error);
        group.apply(&spec.limits, self.settings.cpus.as_deref()).map_err(step("set limits"))?;
        let ids = self.ids.lease().map_err(step("take user ids"))?;
        let (ours, theirs) = UnixStream::pair().map_err(step("socketpair"))?;
        let script = self.script(spec, theirs).map_err(|(name, error)| SpawnError::new(name, error))?;
        let mut mounts = None;
        let mut written = false;
        let spawned = spawn(script, entry::NAMESPACES, group.clone_into(), |pid, _| {
            limit_open_files(pid, spec.limits.max_open_files).map_err(step("limit open files"))?;
            self.map_ids(pid, &ids).map_err(step("map user ids"))?;
            mounts = Some(open_mount_namespace(pid).map_err(step("open the mount namespace"))?);
            self.state.write_sandbox(&spec.id, pid).map_err(step("write the record"))?;
            written = true;
            Ok(())
        })
        .inspect_err(|_| {
            // Not the record of another sandbox of this name.
            if written {
                self.state.forget_sandbox(&spec.id);
            }
        })?;
        // The child took another user while it shared our memory; the kernel then treats us as set-user-id.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
        let mounts = mounts.ok_or_else(|| SpawnError::new("open the mount namespace", io::ErrorKind::NotFound))?;
        Ok((spawned, ours, mounts, ids))
    }

    fn script(&mut self, spec: &BootSpec, channel: UnixStream) -> Result<sys::script::Script, (String, io::Error)> {
        let mut trees = vec![(self.tree(&spec.init, Path::new(root::INIT), false)?, Path::new(root::INIT))];
        for (host, inside) in &spec.read_only {
            let directory = root::is_directory(host).map_err(|error| (format!("look at {}", host.display()), error))?;
            trees.push((self.tree(host, inside, directory)?, inside));
        }
        let open_null = || -> io::Result<OwnedFd> {
            out_of_the_way(fs::OpenOptions::new().read(true).write(true).open("/dev/null")?)
        };
        let entry = Entry {
            spec,
            trees,
            channel: out_of_the_way(channel.as_fd()).map_err(|error| ("channel".to_owned(), error))?,
            null: open_null().map_err(|error| ("open /dev/null".to_owned(), error))?,
            shm_bytes: self.settings.shm_bytes,
            filters: slice::from_ref(&self.filter),
            change_user: !self.ids.only_own(),
            limit_processes: self.settings.limit_processes,
        };
        entry::script(entry).map_err(|error| ("prepare".to_owned(), error))
    }

    fn tree(&mut self, host: &Path, inside: &Path, directory: bool) -> Result<OwnedFd, (String, io::Error)> {
        let failed = |error| (format!("show {} as {}", host.display(), inside.display()), error);
        self.root.ensure_mount_point(inside, directory).map_err(failed)?;
        let tree = root::detached(host).map_err(failed)?;
        out_of_the_way(tree).map_err(failed)
    }

    fn map_ids(&self, pid: Pid, ids: &Lease) -> io::Result<()> {
        let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let (uid, gid) = root::USER;
        if self.ids.only_own() {
            // Without a privilege over groups the kernel wants groups fixed first.
            fs::write(process.join("setgroups"), "deny")?;
        }
        fs::write(process.join("gid_map"), ids.range.map(gid))?;
        fs::write(process.join("uid_map"), ids.range.map(uid))
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.berth.close();
        self.state.forget_groups();
    }
}

fn open_mount_namespace(pid: Pid) -> io::Result<OwnedFd> {
    Ok(fs::File::open(format!("/proc/{}/ns/mnt", pid.as_raw_nonzero()))?.into())
}
