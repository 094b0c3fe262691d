//! The list of what guests boot from: `manifest.json` of a guest images directory. `cargo xtask guest-image` writes
//! it, the launcher reads it; this is the one definition of it.
//!
//! All files are named relative to the directory, and lie below it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The list's name in its directory.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The form of the list that is read and written here.
pub const MANIFEST_VERSION: u32 = 1;
/// Largest list that is read, bytes.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;

/// What guests boot from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// The kernel of all images.
    pub kernel: Kernel,
    /// The root file systems.
    pub images: Vec<Image>,
}

/// A guest kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its file: an uncompressed ELF, or a bzImage.
    pub file: PathBuf,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// What `uname -r` says in it.
    pub release: String,
    /// Whether it finds its devices through ACPI; through its command line otherwise.
    pub acpi: bool,
    /// The modules it needs to find its drives, in the order in which they are loaded; none if they are built in.
    pub modules: Vec<PathBuf>,
}

impl Kernel {
    /// The same, with its files' absolute paths, `directory` being that of its list.
    #[must_use]
    pub fn below(&self, directory: &Path) -> Self {
        let modules = self.modules.iter().map(|module| directory.join(module)).collect();
        Self { file: directory.join(&self.file), modules, ..self.clone() }
    }
}

/// A root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The runtime it is for, such as `python3.11`.
    pub name: String,
    /// Its file: a read-only file system.
    pub file: PathBuf,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The interpreter within it, if it has one to be started ahead of any code.
    pub interpreter: Option<PathBuf>,
}

/// There are no guest images to use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The list can't be read.
    #[error(
        "{path} can't be read: {source}; make guest images with `cargo xtask guest-image`, or name their directory with --guest-images"
    )]
    Unreadable {
        /// The list.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// It is no list that this program understands.
    #[error("{path} is no list of guest images: {reason}; make them anew with `cargo xtask guest-image`")]
    Invalid {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Manifest {
    /// Reads the list of a guest images directory. The files it names were looked for, their content was not.
    pub fn read(directory: &Path) -> Result<Self, ManifestError> {
        let path = directory.join(MANIFEST_FILE);
        let unreadable = |source| ManifestError::Unreadable { path: path.clone(), source };
        let invalid = |reason| ManifestError::Invalid { path: path.clone(), reason };
        let size = fs::metadata(&path).map_err(unreadable)?.len();
        if size > MANIFEST_MAX_BYTES {
            return Err(invalid(format!("it has {size} bytes")));
        }
        let bytes = fs::read(&path).map_err(unreadable)?;
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        manifest.check(directory).map_err(invalid)?;
        Ok(manifest)
    }

    /// The image of this name.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.name == name)
    }

    fn check(&self, directory: &Path) -> Result<(), String> {
        if self.version != MANIFEST_VERSION {
            return Err(format!("it has version {}, not {MANIFEST_VERSION}", self.version));
        }
        let images = self.images.iter().map(|image| &image.file);
        for file in images.chain(&self.kernel.modules).chain([&self.kernel.file]) {
            if !file.components().all(|part| matches!(part, Component::Normal(_))) || file.as_os_str().is_empty() {
                return Err(format!("{} is not below it", file.display()));
            }
            if !directory.join(file).is_file() {
                return Err(format!("{} is not there", directory.join(file).display()));
            }
        }
        let mut names: Vec<_> = self.images.iter().map(|image| &image.name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two images are called {}", pair[0])),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"version":1,
        "kernel":{"file":"vmlinux","sha256":"00","release":"6.1.0","acpi":false,"modules":["modules/virtio_mmio.ko"]},
        "images":[{"name":"python3.11","file":"python.erofs","sha256":"01","interpreter":"/usr/bin/python3.11"},
                  {"name":"provided","file":"provided.erofs","sha256":"02","interpreter":null}]}"#;

    fn read(list: &str) -> Result<Manifest, ManifestError> {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("modules")).unwrap();
        for file in ["vmlinux", "modules/virtio_mmio.ko", "python.erofs", "provided.erofs"] {
            fs::write(directory.path().join(file), "").unwrap();
        }
        fs::write(directory.path().join(MANIFEST_FILE), list).unwrap();
        Manifest::read(directory.path())
    }

    #[test]
    fn images_are_found_by_name() {
        let manifest = read(LIST).unwrap();
        assert_eq!(
            manifest.image("python3.11").unwrap().interpreter.as_deref(),
            Some(Path::new("/usr/bin/python3.11"))
        );
        assert_eq!(manifest.image("provided").unwrap().interpreter, None);
        assert!(manifest.image("ruby").is_none());
        assert_eq!(serde_json::from_str::<Manifest>(&serde_json::to_string(&manifest).unwrap()).unwrap(), manifest);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let changes = [
            ("\"version\":1", "\"version\":2", "version 2"),
            ("python.erofs", "../python.erofs", "not below"),
            ("vmlinux", "/vmlinux", "not below"),
            ("provided.erofs", "gone.erofs", "not there"),
            ("\"provided\"", "\"python3.11\"", "two images"),
            ("\"acpi\":false,", "", "acpi"),
        ];
        for (from, to, told) in changes {
            let error = read(&LIST.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("cargo xtask guest-image"), "{error}");
        }
        let missing = Manifest::read(Path::new("/no/such/directory")).unwrap_err().to_string();
        assert!(missing.contains("--guest-images"), "{missing}");
    }
}
