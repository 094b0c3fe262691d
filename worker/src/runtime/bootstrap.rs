//! Our bootstraps as files: part of this program, written out at start, shown to every sandbox read-only.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Where sandboxes with a mount namespace see the bootstraps.
pub(crate) const RUNTIME_DIR: &str = "/var/runtime";

/// The classes of our bootstrap for Java.
pub(super) const JAVA_BOOTSTRAP: &str = "hearth-java.jar";
/// What a Java virtual machine is to do in general.
pub(super) const JAVA_FLAGS: &str = "java.flags";
/// What `cargo xtask java` makes, where there is a Java compiler, besides the classes.
const JAVA_LIBRARY: &str = "libhearth-java.so";

/// What Python would compile anew in every sandbox: 5 ms and 1.2 MB each.
const PYTHON_MODULES: [&str; 3] = ["hearth_bootstrap.py", "hearth_logging.py", "snapshot_restore_py.py"];
/// Where Python looks for compiled modules: PEP 3147.
const COMPILED_PYTHON: &str = "__pycache__";
/// Compiles its arguments. The files never change, so that nobody needs to ask whether they did: PEP 552.
const COMPILE_PYTHON: &str = "import sys, py_compile
for path in sys.argv[1:]:
    py_compile.compile(path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";

const FILES: [(&str, &[u8]); 7] = [
    ("bootstrap.py", include_bytes!("../../../sdk/python/bootstrap.py")),
    ("hearth_bootstrap.py", include_bytes!("../../../sdk/python/hearth_bootstrap.py")),
    ("hearth_logging.py", include_bytes!("../../../sdk/python/hearth_logging.py")),
    ("snapshot_restore_py.py", include_bytes!("../../../sdk/python/snapshot_restore_py.py")),
    ("bootstrap.cjs", include_bytes!("../../../sdk/nodejs/bootstrap.cjs")),
    ("bootstrap.rb", include_bytes!("../../../sdk/ruby/bootstrap.rb")),
    (JAVA_FLAGS, include_bytes!("../../../sdk/java/java.flags")),
];

/// A name and a content.
type File = (&'static str, Vec<u8>);

/// The bootstraps on this host's disk.
#[derive(Debug, Clone)]
pub(crate) struct Bootstraps {
    dir: PathBuf,
    has_java: bool,
}

impl Bootstraps {
    /// Writes them to a directory of `root` that is named by their content, so that a newer worker never changes
    /// files under sandboxes of an older one. What was compiled for Java is taken from `compiled`, if it is there.
    pub(crate) fn write(root: &Path, compiled: Option<&Path>) -> io::Result<Self> {
        let java = compiled.map(java_files).transpose()?.flatten();
        let has_java = java.is_some();
        let own = FILES.into_iter().map(|(name, content)| (name, content.to_vec()));
        let files: Vec<_> = own.chain(java.into_iter().flatten()).collect();
        let mut hasher = crc32fast::Hasher::new();
        files.iter().for_each(|(_, content)| hasher.update(content));
        let dir = root.join(format!("{:08x}", hasher.finalize()));
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))?;
        for (name, content) in files {
            let unfinished = dir.join(format!(".{name}"));
            std::fs::write(&unfinished, content)?;
            std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o644))?;
            std::fs::rename(&unfinished, dir.join(name))?;
        }
        Ok(Self { dir, has_java })
    }

    /// Compiles the modules for the Python that is `interpreter`, whose sandboxes would else do so each time they start.
    pub(crate) async fn compile_python(&self, interpreter: &Path) -> io::Result<()> {
        let compiled = self.dir.join(COMPILED_PYTHON);
        std::fs::create_dir_all(&compiled)?;
        std::fs::set_permissions(&compiled, std::fs::Permissions::from_mode(0o755))?;
        let modules = PYTHON_MODULES.iter().map(|name| self.dir.join(name));
        let mut command = Command::new(interpreter);
        command.args(["-I", "-S", "-c", COMPILE_PYTHON]).args(modules).env_clear().kill_on_drop(true);
        let output = command.output().await?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// Whether Java is among them.
    pub(crate) const fn has_java(&self) -> bool {
        self.has_java
    }

    /// The directory on the host.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// What Java needs of what was compiled: both, or `None`.
pub(super) fn java_files(compiled: &Path) -> io::Result<Option<[File; 2]>> {
    let read = |name: &'static str| match std::fs::read(compiled.join(name)) {
        Ok(content) => Ok(Some((name, content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    Ok(read(JAVA_BOOTSTRAP)?.zip(read(JAVA_LIBRARY)?).map(|(classes, library)| [classes, library]))
}

#[cfg(test)]
impl Bootstraps {
    /// Without Java.
    pub(crate) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), has_java: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_is_there_if_all_of_it_is() {
        let (root, compiled) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let without = Bootstraps::write(root.path(), None).unwrap();
        assert!(!without.has_java());
        std::fs::write(compiled.path().join(JAVA_BOOTSTRAP), "classes").unwrap();
        assert!(!Bootstraps::write(root.path(), Some(compiled.path())).unwrap().has_java());
        std::fs::write(compiled.path().join(JAVA_LIBRARY), "library").unwrap();
        let with = Bootstraps::write(root.path(), Some(compiled.path())).unwrap();
        assert!(with.has_java() && with.dir() != without.dir());
        assert_eq!(std::fs::read(with.dir().join(JAVA_LIBRARY)).unwrap(), b"library");
        assert!(with.dir().join("bootstrap.rb").is_file() && without.dir().join("bootstrap.py").is_file());
    }

    #[tokio::test]
    async fn python_finds_its_modules_compiled() {
        let python = Path::new("/usr/bin/python3");
        if !python.exists() {
            return println!("skipped: there is no {}", python.display());
        }
        let root = tempfile::tempdir().unwrap();
        let bootstraps = Bootstraps::write(root.path(), None).unwrap();
        bootstraps.compile_python(python).await.unwrap();
        let compiled = std::fs::read_dir(bootstraps.dir().join(COMPILED_PYTHON)).unwrap();
        assert_eq!(compiled.count(), PYTHON_MODULES.len());
        let import = "import hearth_bootstrap as module; print(module.__spec__.cached, module.to_json({'a': 1}))";
        let mut command = Command::new(python);
        // Without the source nothing else could be loaded.
        std::fs::write(bootstraps.dir().join("hearth_bootstrap.py"), "raise SystemExit('compiled anew')").unwrap();
        let output = command.args(["-c", import]).env("PYTHONPATH", bootstraps.dir()).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(COMPILED_PYTHON) && said.contains("{\"a\": 1}"), "{output:?}");
    }
}
