//! The thread that goes into a running sandbox's mounts, changes one and comes out: code is attached and `/tmp`
//! resized from the host, while nothing inside may mount.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::mount::{MountFlags, mount_remount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::entry::tmp_options;
use super::root;
use crate::sys;

pub(super) struct Doorman {
    home: OwnedFd,
}

impl Doorman {
    /// On the thread that will go in and out.
    pub(super) fn new() -> io::Result<Self> {
        // A thread that shares its root with others can't change namespaces.
        sys::identity::unshare(UnshareFlags::FS)?;
        Ok(Self { home: File::open("/proc/thread-self/ns/mnt")?.into() })
    }

    /// Shows the host's directory `directory` at `inside`: [`root::TASK_ROOT`] or [`root::LAYERS_ROOT`].
    pub(super) fn show(&self, mounts: &Arc<OwnedFd>, directory: &Path, inside: &'static str) -> io::Result<()> {
        let tree = root::detached(directory)?;
        self.inside(mounts, || root::attach(&tree, Path::new(inside)))
    }

    /// Gives `/tmp` another size; fails if more is in it.
    pub(super) fn resize_tmp(&self, mounts: &Arc<OwnedFd>, bytes: u64) -> io::Result<()> {
        let options = std::ffi::CString::new(tmp_options(bytes))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        self.inside(mounts, || Ok(mount_remount("/tmp", flags, options.as_c_str())?))
    }

    fn inside<R>(&self, mounts: &Arc<OwnedFd>, act: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let enter = |fd: &OwnedFd| move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Mount));
        enter(mounts)?;
        let done = act();
        // Nothing takes away the right to come home; a thread that stayed inside must not act for another sandbox.
        enter(&self.home).unwrap_or_else(|error| panic!("a thread could not leave a sandbox: {error}"));
        done
    }
}
