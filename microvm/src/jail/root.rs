//! The root file system all sandboxes of a launcher share: prepared once, read-only, in a mount namespace that only
//! the launcher's own thread is in. Each sandbox's child gets it by being cloned from that thread; nothing of it is
//! in the host's table of mounts, and it vanishes with the thread, however that ends.
//!
//! | path | what |
//! | --- | --- |
//! | `/usr`, `/bin`, `/sbin`, `/lib*` | the host's, read-only, no devices, no set-user-id |
//! | `/etc` | a handful of files written here, plus certificates, alternatives and Java's configuration of the host |
//! | `/dev` | null, zero, full, random, urandom; links to the descriptors; `shm`, bounded |
//! | `/proc` | its own, read-only |
//! | `/tmp` | its own, of its size |
//! | `/var/task` | where code is attached |
//! | `/opt` | where layers are attached |

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, mount_remount, move_mount,
    open_tree,
};

use crate::sys;
use crate::sys::mount::Use;

/// Where code is attached.
pub(crate) const TASK_ROOT: &str = "/var/task";
/// Where layers are attached.
pub(crate) const LAYERS_ROOT: &str = "/opt";
/// Where the first program is seen inside.
pub(super) const INIT: &str = "/run/hearth/init";
/// Tries to make the tree read-only while children are being started.
const READ_ONLY_TRIES_MAX: u32 = 100;
/// Pause between two of them.
const READ_ONLY_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
/// Who runs programs that are not the first: the user Lambda has, user 993 of group 990.
pub(crate) const USER: (u32, u32) = (993, 990);

/// The host's directories (or links to them) that are shared whole.
const SHARED: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What of the host's `/etc` is shared, where it is there.
const SHARED_ETC: [&str; 4] = ["etc/alternatives", "etc/ssl/certs", "etc/pki", "etc/ca-certificates"];
/// What of the host's `/etc` is copied, where it is there.
const COPIED_ETC: [&str; 4] = ["etc/localtime", "etc/ld.so.cache", "etc/ssl/openssl.cnf", "etc/protocols"];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const DIRECTORIES: [&str; 8] = ["proc", "tmp", "dev/shm", "var/task", "var/runtime", "run/hearth", "opt", "etc"];
/// The tree, as seen from the working directory of the launcher's thread and of what is cloned from it. The directory
/// that holds it may lie where only the host's root may look (in a private home, say), and a sandbox's first process is
/// somebody else by the time it enters its root: it gets there without a walk along the host's paths.
pub(super) const TREE: &str = "tree";
/// Room for the files written here and for mount points.
const SIZE: &str = "size=8m,mode=755,nr_inodes=4096";

/// The prepared tree.
pub(super) struct Root {
    /// The same file system, writable: new mount points are made through it.
    writable: OwnedFd,
    mount_points: BTreeSet<PathBuf>,
}

impl Root {
    /// Prepares it below `directory`, which is empty. The calling thread has a mount namespace and a working directory
    /// of its own, the latter `directory` from here on, and stays.
    pub(super) fn prepare(directory: &Path) -> io::Result<Self> {
        // Mounts made here stay here; what the host mounts later is seen.
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let size = std::ffi::CString::new(SIZE)?;
        mount("tmpfs", directory, "tmpfs", flags, Some(&*size))?;
        mount_change(directory, MountPropagationFlags::PRIVATE)?;
        rustix::process::chdir(directory)?;
        let path = &directory.join(TREE);
        make_directory(path)?;
        mount("tmpfs", path, "tmpfs", flags, Some(&*size))?;
        mount_change(path, MountPropagationFlags::PRIVATE)?;
        let writable = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        let writable = rustix::fs::openat(&writable, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for directory in DIRECTORIES {
            make_directory(&path.join(directory))?;
        }
        fs::write(path.join(INIT.trim_start_matches('/')), "")?;
        write_etc(path)?;
        make_devices(path)?;
        for name in SHARED.iter().chain(&SHARED_ETC) {
            share(path, name)?;
        }
        for name in java_configurations() {
            share(path, &name)?;
        }
        make_read_only(path, flags)?;
        Ok(Self { writable, mount_points: BTreeSet::new() })
    }

    /// Makes sure that `inside` exists as something a mount of a directory (or file) can go on.
    pub(super) fn ensure_mount_point(&mut self, inside: &Path, directory: bool) -> io::Result<()> {
        if self.mount_points.contains(inside) {
            return Ok(());
        }
        let parts = components(inside)?;
        // What is below a mount is not ours to make: it is there, or the mount fails and says so.
        let mut so_far = PathBuf::new();
        for (index, part) in parts.iter().enumerate() {
            so_far.push(part);
            let made = if directory || index + 1 < parts.len() {
                rustix::fs::mkdirat(&self.writable, &so_far, Mode::from(0o755))
            } else {
                rustix::fs::mknodat(&self.writable, &so_far, FileType::RegularFile, Mode::from(0o444), 0)
            };
            match made {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.mount_points.insert(inside.to_path_buf());
        Ok(())
    }
}

/// Makes a mount read-only. A child that another thread starts in this moment has copies of our descriptors until it
/// executes its program, also of a file that was being written; so long the kernel says EBUSY, and there is no event
/// that tells of its end.
fn make_read_only(path: &Path, flags: MountFlags) -> io::Result<()> {
    for _ in 1..READ_ONLY_TRIES_MAX {
        match mount_remount(path, flags | MountFlags::BIND | MountFlags::RDONLY, "") {
            Err(rustix::io::Errno::BUSY) => std::thread::sleep(READ_ONLY_PAUSE),
            outcome => return Ok(outcome?),
        }
    }
    Ok(mount_remount(path, flags | MountFlags::BIND | MountFlags::RDONLY, "")?)
}

/// A copy of what is mounted at `path` on the host, read-only, without devices and set-user-id, attached nowhere.
pub(super) fn detached(path: &Path) -> io::Result<OwnedFd> {
    copy(path, Use::Programs)
}

/// Attaches a detached tree.
pub(super) fn attach(tree: &OwnedFd, at: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Whether a host path is a directory, followed through links.
pub(super) fn is_directory(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.is_dir())
}

fn copy(path: &Path, good_for: Use) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, path, flags)?;
    sys::mount::make_harmless(tree.as_fd(), good_for)?;
    Ok(tree)
}

fn components(inside: &Path) -> io::Result<Vec<PathBuf>> {
    let wrong =
        || io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a plain absolute path", inside.display()));
    let mut parts = inside.components();
    if parts.next() != Some(Component::RootDir) {
        return Err(wrong());
    }
    let parts = parts.map(|part| match part {
        Component::Normal(name) => Ok(PathBuf::from(name)),
        _ => Err(wrong()),
    });
    parts.collect()
}

/// Debian keeps each Java virtual machine's configuration there, and it does not start without.
fn java_configurations() -> Vec<String> {
    let names = fs::read_dir("/etc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    names.filter(|name| name.starts_with("java-")).map(|name| format!("etc/{name}")).collect()
}

/// A directory of the host, or the link that stands for it (`/bin` → `usr/bin`).
fn share(root: &Path, name: &str) -> io::Result<()> {
    let (host, here) = (Path::new("/").join(name), root.join(name));
    match fs::symlink_metadata(&host) {
        Ok(found) if found.is_symlink() => symlink(fs::read_link(&host)?, &here),
        Ok(found) if found.is_dir() => {
            make_directory(&here)?;
            attach(&detached(&host)?, &here)
        }
        _ => Ok(()),
    }
}

fn make_devices(root: &Path) -> io::Result<()> {
    for name in DEVICES {
        let here = root.join("dev").join(name);
        fs::write(&here, "")?;
        attach(&copy(&Path::new("/dev").join(name), Use::Device)?, &here)?;
    }
    let links = [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")];
    for (name, target) in links.into_iter().chain([("stderr", "/proc/self/fd/2")]) {
        symlink(target, root.join("dev").join(name))?;
    }
    Ok(())
}

fn write_etc(root: &Path) -> io::Result<()> {
    let (uid, gid) = USER;
    let etc = root.join("etc");
    let nobody = 65_534;
    fs::write(
        etc.join("passwd"),
        format!(
            "root:x:0:0:root:/tmp:/sbin/nologin\nsandbox:x:{uid}:{gid}:sandbox:/tmp:/sbin/nologin\n\
             nobody:x:{nobody}:{nobody}:nobody:/tmp:/sbin/nologin\n"
        ),
    )?;
    fs::write(etc.join("group"), format!("root:x:0:\nsandbox:x:{gid}:\nnogroup:x:{nobody}:\n"))?;
    fs::write(etc.join("hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    fs::write(etc.join("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
    fs::write(etc.join("resolv.conf"), "")?;
    for name in COPIED_ETC {
        // A copy, so that the host may replace its file while sandboxes run.
        if let Ok(content) = fs::read(Path::new("/").join(name)) {
            if let Some(parent) = root.join(name).parent() {
                make_directory(parent)?;
            }
            fs::write(root.join(name), content)?;
        }
    }
    Ok(())
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Whether something exists in the host's `/proc`, so that a sandbox's has it, too.
pub(super) fn proc_has(name: &str) -> bool {
    rustix::fs::statat(CWD, Path::new("/proc").join(name), AtFlags::empty()).is_ok()
}
