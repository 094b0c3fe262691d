//! The root file system of the guest, put together from the runtime image and what the initramfs brought.
//!
//! | path | what |
//! | --- | --- |
//! | `/` | the runtime image (`/dev/vda`), read-only |
//! | `/dev` | the kernel's devices (devtmpfs), and links to the descriptors |
//! | `/dev/shm` | memory, 64 MiB at most |
//! | `/proc` | processes, to their owner only |
//! | `/tmp` | memory, of the size the function has |
//! | `/var/task` | the code image (`/dev/vdb`), when there is a function; with layers, its directory `task` |
//! | `/opt` | the directory `opt` of the code image, when the function has layers |
//! | everything the initramfs brought | bound at its path, read-only |
//!
//! Absent on purpose: `/sys`, terminals, and anything else to write to; as in the jail. An image has to have the
//! directories that things are mounted on: nothing can be made in it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount, mount_bind, mount_move, mount_remount};

use super::{SetupError, devices};

/// The runtime image.
const ROOT_DRIVE: &str = "/dev/vda";
/// The function's code; there from the start, empty until there is a function.
const CODE_DRIVE: &str = "/dev/vdb";
/// Where layers are seen.
const LAYERS_ROOT: &str = "/opt";
/// Where the new root is until it is the root.
const NEW_ROOT: &str = "/new-root";
/// What in the initramfs is not meant to be seen inside: our own, and the kernel's default.
const OWN: [&str; 5] = ["/init", "/dev", "/modules", "/root", NEW_ROOT];
/// Links that programs expect, as in the jail.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Size of `/dev/shm`, bytes: as in the jail.
const SHM_BYTES: u64 = 64 << 20;
/// Size of `/tmp` before a function says how much it wants, bytes: the least a function can have.
const TMP_BYTES: u64 = (hearth_domain::limits::EPHEMERAL_STORAGE_MIN_MB as u64) << 20;
/// Bytes of a page, for the number of files a tmpfs may hold.
const TMP_BYTES_PER_FILE: u64 = 4_096;
/// Files that even the smallest `/tmp` may hold.
const TMP_MIN_FILES: u64 = 1_024;

const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// The kernel's devices, in the initramfs.
pub(super) fn mount_devices() -> Result<(), SetupError> {
    make_directory("/dev").map_err(SetupError::at("make /dev"))?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    step("mount /dev", mount("dev", "/dev", "devtmpfs", flags, Some(c"mode=755")))
}

/// Makes the runtime image the root of this process and all that come after it.
pub(super) fn switch() -> Result<(), SetupError> {
    devices::appeared(Path::new(ROOT_DRIVE)).map_err(SetupError::at("wait for the drive with the runtime image"))?;
    make_directory(NEW_ROOT).map_err(SetupError::at("make the new root"))?;
    let opened = File::open(ROOT_DRIVE);
    mount_drive(ROOT_DRIVE, opened, Path::new(NEW_ROOT))?;
    let inside = |path: &str| PathBuf::from(format!("{NEW_ROOT}{path}"));
    let lacks = |path: &str| format!("mount {path} (the runtime image has to have that directory, empty)");
    bring_along(Path::new("/"), &inside(""))?;
    let options = Some(c"hidepid=2");
    step(&lacks("/proc"), mount("proc", inside("/proc"), "proc", QUIET | MountFlags::NOEXEC, options))?;
    step(&lacks("/tmp"), mount_memory(&inside("/tmp"), QUIET, TMP_BYTES))?;
    step(&lacks("/dev"), mount_move("/dev", inside("/dev")))?;
    make_directory(inside("/dev/shm")).map_err(SetupError::at("make /dev/shm"))?;
    step("mount /dev/shm", mount_memory(&inside("/dev/shm"), QUIET | MountFlags::NOEXEC, SHM_BYTES))?;
    for (name, target) in DEVICE_LINKS {
        let made = std::os::unix::fs::symlink(target, inside("/dev").join(name));
        made.map_err(SetupError::at(format!("make /dev/{name}")))?;
    }
    // The initramfs stays below, out of reach: the kernel allows nobody to unmount it.
    step("enter the new root", rustix::process::chdir(NEW_ROOT))?;
    step("move the new root", mount_move(".", "/"))?;
    step("change the root", rustix::process::chroot("."))?;
    step("enter the root", rustix::process::chdir("/"))
}

/// Mounts the function's code, if this machine has a drive for it, and the layers that are on the same drive.
pub(super) fn mount_code(task_root: &Path, layers_in_code: bool) -> Result<(), SetupError> {
    let drive = match devices::filled(Path::new(CODE_DRIVE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        drive => drive,
    };
    mount_drive(CODE_DRIVE, drive, task_root)?;
    if !layers_in_code {
        return Ok(());
    }
    let lacks = "bind /opt (the runtime image has to have that directory)";
    step(lacks, mount_bind(task_root.join("opt"), LAYERS_ROOT))?;
    step("bind the code", mount_bind(task_root.join("task"), task_root))
}

/// Gives `/tmp` another size; fails if more is in it.
pub(super) fn resize_tmp(bytes: u64) -> Result<(), SetupError> {
    let options = memory_options(bytes).map_err(SetupError::at("size of /tmp"))?;
    step("resize /tmp", mount_remount("/tmp", QUIET, options.as_c_str()))
}

fn mount_drive(path: &str, drive: io::Result<File>, at: &Path) -> Result<(), SetupError> {
    let kind = drive.and_then(|mut drive| devices::file_system(&mut drive));
    let kind = kind.map_err(SetupError::at(format!("look at {path}")))?;
    step(&format!("mount {path} as {kind}"), mount(path, at, kind, QUIET | MountFlags::RDONLY, None))
}

fn mount_memory(at: &Path, flags: MountFlags, bytes: u64) -> Result<(), rustix::io::Errno> {
    let options = memory_options(bytes).map_err(|_| rustix::io::Errno::INVAL)?;
    mount("tmpfs", at, "tmpfs", flags, Some(options.as_c_str()))
}

/// Options of a bounded file system in memory that everybody can write to.
fn memory_options(bytes: u64) -> io::Result<std::ffi::CString> {
    let files = (bytes / TMP_BYTES_PER_FILE).max(TMP_MIN_FILES);
    Ok(std::ffi::CString::new(format!("size={bytes},nr_inodes={files},mode=1777"))?)
}

/// Binds what lies in `from`, a directory of the initramfs, to where it would lie in the image at `to`: files one by
/// one, directories as a whole where the image's is empty and therefore meant for that.
fn bring_along(from: &Path, to: &Path) -> Result<(), SetupError> {
    let listed = || fs::read_dir(from)?.collect::<io::Result<Vec<_>>>();
    let entries = listed().map_err(SetupError::at(format!("list {} of the initramfs", from.display())))?;
    for entry in entries {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if OWN.iter().any(|own| source == Path::new(own)) {
            continue;
        }
        let is_directory = source.is_dir();
        if is_directory && is_empty(&source) {
            continue;
        }
        if is_directory && target.is_dir() && !is_empty(&target) {
            bring_along(&source, &target)?;
            continue;
        }
        let what = format!("bind {} (the runtime image has to have something empty there)", source.display());
        step(&what, mount_bind(&source, &target))?;
        step(&what, mount_remount(&target, QUIET | MountFlags::BIND | MountFlags::RDONLY, c""))?;
    }
    Ok(())
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

fn make_directory(path: impl AsRef<Path>) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn step(what: &str, outcome: Result<(), rustix::io::Errno>) -> Result<(), SetupError> {
    outcome.map_err(|error| SetupError::at(what)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_in_bytes_and_files() {
        let options = |bytes| memory_options(bytes).unwrap().into_string().unwrap();
        assert_eq!(options(512 << 20), "size=536870912,nr_inodes=131072,mode=1777");
        assert_eq!(options(4096), "size=4096,nr_inodes=1024,mode=1777");
    }
}
