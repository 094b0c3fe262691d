//! Makes the planned tree on disk: directories, then files, then symlinks. While files are written there is no symlink
//! in the tree, and nobody else knows its name; so nothing can be written outside of it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::unzip::content::{self, CopyError};
use crate::unzip::directory::Entry;
use crate::unzip::plan::{Node, Plan};
use crate::unzip::{UNPACKING_PREFIX, UnpackError};

const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
const EXECUTABLE_MODE: u32 = 0o755;

pub(super) fn write(zip: &[u8], plan: &Plan<'_>, into: &Path) -> Result<(), UnpackError> {
    let beside = into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let root = tempfile::Builder::new()
        .prefix(UNPACKING_PREFIX)
        .tempdir_in(beside)
        .map_err(failed("make a directory in", beside))?;
    for (path, node) in plan.nodes() {
        if let Node::Directory { .. } = node {
            let path = root.path().join(path);
            fs::create_dir(&path).and_then(|()| set_mode(&path, DIRECTORY_MODE)).map_err(failed("make", &path))?;
        }
    }
    for (path, node) in plan.nodes() {
        if let Node::File { entry, executable } = node {
            let mode = if *executable { EXECUTABLE_MODE } else { FILE_MODE };
            write_file(zip, entry, &root.path().join(path), mode)?;
        }
    }
    for (path, node) in plan.nodes() {
        if let Node::Symlink { target } = node {
            let path = root.path().join(path);
            symlink(target, &path).map_err(failed("make", &path))?;
        }
    }
    set_mode(root.path(), DIRECTORY_MODE).map_err(failed("make readable", root.path()))?;
    fs::rename(root.path(), into).map_err(failed("rename to", into))?;
    // It has its name now and must not be removed.
    let _ = root.keep();
    Ok(())
}

fn write_file(zip: &[u8], entry: &Entry<'_>, path: &Path, mode: u32) -> Result<(), UnpackError> {
    let mut file = File::create_new(path).map_err(failed("make", path))?;
    content::copy(zip, entry, &mut file).map_err(|error| match error {
        CopyError::Content(error) => error.into(),
        CopyError::Sink(error) => failed("write", path)(error),
    })?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed("set the mode of", path))
}

/// Sets a mode whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> UnpackError {
    move |source| UnpackError::Io { action, path: path.to_owned(), source }
}
