//! The first root file system of a guest: an archive of the kernel's (`newc` cpio, Documentation/driver-api/
//! early-userspace/buffer-format.rst), uncompressed, because it is mapped, not copied, and read once.
//!
//! | path | what |
//! | --- | --- |
//! | `/init` | the first process's program |
//! | as asked | files and directories of [`crate::BootSpec::read_only`] |
//! | `/modules/NAME` | kernel modules, and `/modules/order`: their names in the order of loading, one a line |
//! | `/dev/console`, `/dev/null` | what the kernel, and then the program's start code, open as standard output |
//!
//! The shim makes its own mount points, and takes along what is not its own (`shim/src/guest/root.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Largest archive, bytes: what is shown to a guest this way is a shim and a few scripts.
const INITRAMFS_MAX_BYTES: usize = 96 << 20;
/// Deepest directory that is followed.
const DEPTH_MAX: usize = 32;
/// Where kernel modules are.
const MODULES: &str = "modules";

const DIRECTORY: u32 = 0o040_755;
const SYMBOLIC_LINK: u32 = 0o120_777;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// Device files, by major and minor number.
const DEVICES: [(&str, (u32, u32)); 2] = [("dev/console", (5, 1)), ("dev/null", (1, 3))];
/// End of an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive could not be made.
#[derive(Debug, thiserror::Error)]
#[error("initramfs: {path}: {source}")]
pub(super) struct InitramfsError {
    path: PathBuf,
    source: io::Error,
}

/// What goes in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    /// The first process's program, on the host.
    pub(super) init: &'a Path,
    /// Files and directories: (on the host, absolute inside).
    pub(super) read_only: &'a [(PathBuf, PathBuf)],
    /// Kernel modules on the host, in the order of loading.
    pub(super) modules: &'a [PathBuf],
}

/// Makes the archive.
pub(super) fn build(content: Content<'_>) -> Result<Vec<u8>, InitramfsError> {
    let mut archive = Archive::default();
    archive.directory(Path::new("dev"));
    for (path, number) in DEVICES {
        archive.entry(path.as_bytes(), CHARACTER_DEVICE, number, &[]);
    }
    archive.program(content.init, Path::new("init"))?;
    let mut order = Vec::new();
    for module in content.modules {
        let name = module.file_name().unwrap_or_default();
        archive.file(module, &Path::new(MODULES).join(name))?;
        order.extend([name.as_bytes(), b"\n"].concat());
    }
    if !order.is_empty() {
        archive.entry(format!("{MODULES}/order").as_bytes(), REGULAR | 0o444, (0, 0), &order);
    }
    for (host, inside) in content.read_only {
        archive.tree(host, &below_root(inside)?, 0)?;
    }
    archive.entry(TRAILER.as_bytes(), 0, (0, 0), &[]);
    Ok(archive.bytes)
}

/// An absolute path without its root, of names only.
fn below_root(inside: &Path) -> Result<PathBuf, InitramfsError> {
    let mut parts = inside.components();
    let names = parts.next() == Some(Component::RootDir) && parts.all(|part| matches!(part, Component::Normal(_)));
    match inside.strip_prefix("/") {
        Ok(below) if names && !below.as_os_str().is_empty() => Ok(below.to_path_buf()),
        _ => Err(failed(inside)(io::Error::new(io::ErrorKind::InvalidInput, "not a plain absolute path"))),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> InitramfsError {
    let path = path.to_path_buf();
    move |source| InitramfsError { path, source }
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<PathBuf>,
    count: u32,
}

impl Archive {
    fn tree(&mut self, host: &Path, inside: &Path, depth: usize) -> Result<(), InitramfsError> {
        // What is asked for by name may be reached through links; what is found below it is taken as it is.
        let found = if depth == 0 { fs::metadata(host) } else { fs::symlink_metadata(host) }.map_err(failed(host))?;
        if found.is_symlink() {
            let target = fs::read_link(host).map_err(failed(host))?;
            self.entry(inside.as_os_str().as_bytes(), SYMBOLIC_LINK, (0, 0), target.as_os_str().as_bytes());
            return Ok(());
        }
        if !found.is_dir() {
            return self.file(host, inside);
        }
        if depth == DEPTH_MAX {
            return Err(failed(host)(io::Error::new(io::ErrorKind::InvalidInput, "directories too deep")));
        }
        self.directory(inside);
        let mut names = Vec::new();
        for entry in fs::read_dir(host).map_err(failed(host))? {
            names.push(entry.map_err(failed(host))?.file_name());
        }
        // In an order of its own: the same content makes the same archive.
        names.sort_unstable();
        names.iter().try_for_each(|name| self.tree(&host.join(name), &inside.join(name), depth + 1))
    }

    fn file(&mut self, host: &Path, inside: &Path) -> Result<(), InitramfsError> {
        let executable = fs::metadata(host).map_err(failed(host))?.permissions().mode() & 0o111 != 0;
        self.content(host, inside, if executable { 0o555 } else { 0o444 })
    }

    fn program(&mut self, host: &Path, inside: &Path) -> Result<(), InitramfsError> {
        self.content(host, inside, 0o555)
    }

    fn content(&mut self, host: &Path, inside: &Path, mode: u32) -> Result<(), InitramfsError> {
        let size = fs::metadata(host).map_err(failed(host))?.len();
        if usize::try_from(size).map_or(true, |size| self.bytes.len().saturating_add(size) > INITRAMFS_MAX_BYTES) {
            let reason = format!("with it, the archive would have more than {INITRAMFS_MAX_BYTES} bytes");
            return Err(failed(host)(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
        }
        let content = fs::read(host).map_err(failed(host))?;
        if let Some(parent) = inside.parent() {
            self.directory(parent);
        }
        self.entry(inside.as_os_str().as_bytes(), REGULAR | mode, (0, 0), &content);
        Ok(())
    }

    /// A directory and those above it, once each.
    fn directory(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || self.directories.contains(path) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.directories.insert(path.to_path_buf());
        self.entry(path.as_os_str().as_bytes(), DIRECTORY, (0, 0), &[]);
    }

    /// Header, name and content, each padded to four bytes. All belongs to root and is of no particular time.
    fn entry(&mut self, name: &[u8], mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.count += 1;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        let fields = [self.count, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name);
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn content<'a>(init: &'a Path, read_only: &'a [(PathBuf, PathBuf)], modules: &'a [PathBuf]) -> Content<'a> {
        Content { init, read_only, modules }
    }

    /// What cpio(1) finds in it, as `ls -l` without times.
    fn listed(archive: &[u8]) -> Vec<String> {
        let mut cpio = Command::new("cpio");
        cpio.args(["-itv", "--quiet"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = cpio.spawn().expect("cpio, of the Debian package of this name");
        child.stdin.take().unwrap().write_all(archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let lines = String::from_utf8(output.stdout).unwrap();
        let without_time = |line: &str| {
            let (kind, name) = (line.split(' ').next().unwrap(), line.split_once(" 1970 ").unwrap().1);
            format!("{kind} {name}")
        };
        lines.lines().map(without_time).collect()
    }

    #[test]
    fn all_that_was_asked_for_is_at_its_place() {
        let host = tempfile::tempdir().unwrap();
        let at = |name: &str| host.path().join(name);
        fs::create_dir_all(at("sdk/node")).unwrap();
        for name in ["shim", "virtio_mmio.ko", "erofs.ko", "sdk/bootstrap.py", "sdk/node/index.js"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("node/index.js", at("sdk/index")).unwrap();
        let read_only = [(at("sdk"), PathBuf::from("/var/runtime"))];
        let modules = [at("virtio_mmio.ko"), at("erofs.ko")];
        let archive = build(content(&at("shim"), &read_only, &modules)).unwrap();
        let listed = listed(&archive);
        for line in [
            "crw------- dev/console",
            "-r-xr-xr-x init",
            "-r--r--r-- modules/erofs.ko",
            "-r--r--r-- modules/order",
            "drwxr-xr-x var",
            "drwxr-xr-x var/runtime",
            "-r--r--r-- var/runtime/bootstrap.py",
            "lrwxrwxrwx var/runtime/index -> node/index.js",
            "-r--r--r-- var/runtime/node/index.js",
            "crw------- dev/null",
        ] {
            assert_eq!(listed.iter().filter(|found| *found == line).count(), 1, "{line}: {listed:#?}");
        }
        let text = String::from_utf8_lossy(&archive);
        assert!(text.contains("virtio_mmio.ko\nerofs.ko\n") && archive.len().is_multiple_of(4));
        assert_eq!(archive, build(content(&at("shim"), &read_only, &modules)).unwrap());
    }

    #[test]
    fn what_is_not_there_or_has_no_place_is_told_by_its_path() {
        let missing = build(content(Path::new("/no/such/shim"), &[], &[])).unwrap_err().to_string();
        assert!(missing.contains("/no/such/shim"), "{missing}");
        let shim = std::env::current_exe().unwrap();
        for inside in ["relative", "/a/../b", "/"] {
            let read_only = [(shim.clone(), PathBuf::from(inside))];
            assert!(build(content(&shim, &read_only, &[])).is_err(), "{inside}");
        }
    }
}
