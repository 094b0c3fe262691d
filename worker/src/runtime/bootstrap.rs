//! Our bootstraps as files: part of this program, written out at start, shown to every sandbox read-only.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where sandboxes with a mount namespace see the bootstraps.
pub(crate) const RUNTIME_DIR: &str = "/var/runtime";

const FILES: [(&str, &[u8]); 3] = [
    ("bootstrap.py", include_bytes!("../../../sdk/python/bootstrap.py")),
    ("snapshot_restore_py.py", include_bytes!("../../../sdk/python/snapshot_restore_py.py")),
    ("bootstrap.cjs", include_bytes!("../../../sdk/nodejs/bootstrap.cjs")),
];

/// The bootstraps on this host's disk.
#[derive(Debug, Clone)]
pub(crate) struct Bootstraps {
    dir: PathBuf,
}

impl Bootstraps {
    /// Writes them to a directory of `root` that is named by their content, so that a newer worker never changes
    /// files under sandboxes of an older one.
    pub(crate) fn write(root: &Path) -> io::Result<Self> {
        let mut hasher = crc32fast::Hasher::new();
        FILES.iter().for_each(|(_, content)| hasher.update(content));
        let dir = root.join(format!("{:08x}", hasher.finalize()));
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))?;
        for (name, content) in FILES {
            let unfinished = dir.join(format!(".{name}"));
            std::fs::write(&unfinished, content)?;
            std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o644))?;
            std::fs::rename(&unfinished, dir.join(name))?;
        }
        Ok(Self { dir })
    }

    /// The directory on the host.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}
