//! Runtime images: a tree of Debian packages, trimmed and completed, or a directory of the user's own.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use hearth_microvm::image::{self, Options};

use super::arguments::Arguments;
use super::output::{Output, digest, image_file};
use super::recipe::{Recipe, Recipes};
use super::{EPOCH, Place, printed_by, run};

/// What a guest mounts things on, or expects to be there; empty but for what mounts bring.
const MOUNT_POINTS: [&str; 10] =
    ["dev", "mnt", "opt", "proc", "run", "sys", "tmp", "var/runtime", "var/task", "var/tmp"];
/// Those without which no guest starts.
const REQUIRED: [&str; 5] = ["dev", "proc", "tmp", "var/runtime", "var/task"];
/// Directories that everybody may write to, should an image be mounted so.
const SHARED: [&str; 2] = ["tmp", "var/tmp"];
/// All certificates in one file, where Debian's maintainer script puts them.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
/// Where else programs look for that file: OpenSSL's default, and Amazon Linux's place.
const CERTIFICATE_LINKS: [&str; 2] = ["usr/lib/ssl/cert.pem", "etc/pki/tls/certs/ca-bundle.crt"];
/// Small files, as the jail has them; functions run as 993:990, as on Lambda.
const FILES: [(&str, &str); 5] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/tmp:/sbin/nologin\nsandbox:x:993:990:sandbox:/tmp:/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/tmp:/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nsandbox:x:990:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/resolv.conf", ""),
];

/// Makes a runtime image from its recipe, unless it is there.
pub(super) fn make(
    place: &Place,
    recipes: &Recipes,
    part: &str,
    recipe: &Recipe,
    output: &mut Output,
    arguments: &Arguments,
) -> Result<()> {
    // The name may depend on what is inside; it is remembered beside what was made.
    let remembered = output.path(&format!(".{part}.name"));
    if let Some(shared) = &arguments.share {
        output.share(shared, part)?;
    }
    if let Ok(name) = fs::read_to_string(&remembered)
        && !(arguments.fresh || arguments.twice)
        && output.is_current(&image_file(&name), &recipes.text)
    {
        return output.list_image(&name, recipe.interpreter.as_deref());
    }
    println!("guest-image: making {part} from packages of {}", recipes.suite);
    let tree = Tree::make(place, recipes, recipe)?;
    let name = recipe.name(part, || tree.interpreter_version(recipe))?;
    let file = image_file(&name);
    output.put(&file, &recipes.text, |to| write(tree.top(), to))?;
    if arguments.twice {
        let again = tempfile::NamedTempFile::new_in(&place.work).context("making the image a second time")?;
        write(Tree::make(place, recipes, recipe)?.top(), again.path())?;
        if digest(again.path())? != digest(&output.path(&file))? {
            bail!("{file} came out different the second time");
        }
    }
    fs::write(&remembered, &name).with_context(|| format!("writing {}", remembered.display()))?;
    output.list_image(&name, recipe.interpreter.as_deref())
}

/// Makes an image of a root file system that somebody else put together.
pub(super) fn from_directory(name: &str, directory: &Path, output: &mut Output) -> Result<()> {
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|point| !directory.join(point).is_dir()).collect();
    if !missing.is_empty() {
        bail!("{} lacks directories that guests mount on: mkdir -p {}", directory.display(), missing.join(" "));
    }
    output.put(&image_file(name), "a directory", |to| write(directory, to))?;
    output.list_image(name, interpreter(name, directory).as_deref())
}

/// The interpreter of a directory, found by what the image is called.
fn interpreter(name: &str, directory: &Path) -> Option<String> {
    if name.starts_with("java") {
        let machines = fs::read_dir(directory.join("usr/lib/jvm")).into_iter().flatten().flatten();
        let programs = machines.map(|machine| format!("usr/lib/jvm/{}/bin/java", machine.file_name().display()));
        let found = programs.filter(|path| directory.join(path).symlink_metadata().is_ok()).min();
        return found.map(|path| format!("/{path}"));
    }
    let program = if name.starts_with("nodejs") { "node" } else { name };
    let known = program == "node" || program.starts_with("python3.") || program.starts_with("ruby");
    let places = ["/usr/bin", "/usr/local/bin"].map(|place| format!("{place}/{program}"));
    places.into_iter().find(|path| known && directory.join(&path[1..]).symlink_metadata().is_ok())
}

fn write(directory: &Path, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("making {}", to.display()))?;
    image::write(directory, &file, Options::default()).with_context(|| format!("writing {}", to.display()))?;
    Ok(())
}

/// A root file system while it is put together; removed when dropped.
struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn make(place: &Place, recipes: &Recipes, recipe: &Recipe) -> Result<Self> {
        let tree = Self { directory: tempfile::tempdir_in(&place.work).context("making a directory for a tree")? };
        tree.unpack(recipes, recipe)?;
        for path in &recipes.remove {
            tree.remove(path)?;
        }
        tree.complete()?;
        for (link, target) in &recipe.links {
            tree.link(link, target)?;
        }
        if let Some(modules) = &recipe.compile {
            tree.compile(modules, recipe)?;
        }
        Ok(tree)
    }

    fn top(&self) -> &Path {
        self.directory.path()
    }

    /// Downloads and unpacks the packages. mmdebstrap says through a pipe what is in the tree, so that it may run
    /// without privileges: then only its own view of the tree belongs to root.
    fn unpack(&self, recipes: &Recipes, recipe: &Recipe) -> Result<()> {
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.env("SOURCE_DATE_EPOCH", EPOCH).args(["--quiet", "--variant=extract", "--format=tar"]);
        mmdebstrap.arg("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr");
        mmdebstrap.arg(format!("--include={}", recipes.packages(recipe))).args([&recipes.suite, "-"]);
        let mut packed = mmdebstrap.stdout(Stdio::piped()).spawn().with_context(|| super::missing("mmdebstrap"))?;
        let pipe = packed.stdout.take().context("mmdebstrap has no output")?;
        let mut tar = Command::new("tar");
        tar.args(["-xp", "--no-same-owner", "--exclude=./dev/*", "-C"]).arg(self.top()).stdin(pipe);
        let unpacked = run(&mut tar);
        if !packed.wait().context("waiting for mmdebstrap")?.success() {
            bail!("mmdebstrap failed");
        }
        unpacked
    }

    /// Removes a path; a star at the end of a name stands for the rest of it.
    fn remove(&self, path: &str) -> Result<()> {
        let mut found = vec![self.top().to_owned()];
        for part in path.split('/') {
            found = match part.strip_suffix('*') {
                None => found.into_iter().map(|directory| directory.join(part)).collect(),
                Some(prefix) => found.iter().flat_map(|directory| beginning_with(directory, prefix)).collect(),
            };
        }
        for path in found {
            let removed = match path.symlink_metadata() {
                Err(_) => continue,
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
            };
            removed.with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }

    /// Writes what the packages' maintainer scripts would have, as far as functions need it.
    fn complete(&self) -> Result<()> {
        for point in MOUNT_POINTS {
            let path = self.top().join(point);
            // What is on a disk below them would be hidden.
            if path.exists() {
                fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
            }
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        }
        for shared in SHARED {
            fs::set_permissions(self.top().join(shared), fs::Permissions::from_mode(0o1777))?;
        }
        for (path, content) in FILES {
            self.write(path, content.as_bytes())?;
        }
        let mut files = beginning_with(&self.top().join("usr/share/ca-certificates/mozilla"), "");
        files.sort();
        let certificates: Vec<Vec<u8>> = files.iter().map(fs::read).collect::<std::io::Result<_>>()?;
        if certificates.is_empty() {
            bail!("the package ca-certificates brought none");
        }
        self.write(CERTIFICATES, &certificates.concat())?;
        for link in CERTIFICATE_LINKS {
            self.link(link, &format!("/{CERTIFICATES}"))?;
        }
        if self.top().join("usr/bin/gawk").exists() {
            self.link("usr/bin/awk", "gawk")?;
        }
        Ok(())
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = self.top().join(path);
        make_parent(&path)?;
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    }

    fn link(&self, path: &str, target: &str) -> Result<()> {
        let path = self.top().join(path);
        make_parent(&path)?;
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).with_context(|| format!("replacing {}", path.display()))?;
        }
        symlink(target, &path).with_context(|| format!("linking {}", path.display()))
    }

    /// Compiles Python modules to files that are taken whatever the time of their source is.
    fn compile(&self, modules: &str, recipe: &Recipe) -> Result<()> {
        let mut python = self.program(recipe)?;
        // What the compiled files hold must not depend on this process's order of sets.
        python.env("PYTHONHASHSEED", "0").env("PYTHONHOME", self.top().join("usr"));
        python.args(["-B", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", "-p", "/", "-s"]);
        run(python.arg(self.top()).arg(self.top().join(modules)))
    }

    fn interpreter_version(&self, recipe: &Recipe) -> Result<String> {
        printed_by(self.program(recipe)?.arg("--version"))
    }

    /// The interpreter, run here with the tree's own libraries.
    fn program(&self, recipe: &Recipe) -> Result<Command> {
        let interpreter = recipe.interpreter.as_deref().context("a recipe that compiles names its interpreter")?;
        let mut program = Command::new(self.top().join("lib64/ld-linux-x86-64.so.2"));
        program.arg("--library-path").arg(self.top().join("usr/lib/x86_64-linux-gnu"));
        program.arg(self.top().join(interpreter.trim_start_matches('/'))).env_clear();
        Ok(program)
    }
}

/// What in a directory has a name with this beginning.
fn beginning_with(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path()).collect()
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("a path in a tree has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_takes_what_it_names_and_follows_no_link() {
        let tree = Tree { directory: tempfile::tempdir().unwrap() };
        for file in ["usr/share/doc/a/b", "usr/share/doc-base/c", "usr/share/man/d", "etc/cron.daily/e", "etc/hosts"] {
            tree.write(file, b"").unwrap();
        }
        tree.link("usr/doc", "/etc").unwrap();
        for path in ["usr/share/doc*", "etc/cron*", "usr/doc", "not/there", "usr/*/man"] {
            tree.remove(path).unwrap();
        }
        let left = ["usr/share/doc", "usr/share/doc-base", "usr/share/man", "etc/cron.daily", "usr/doc", "etc/hosts"];
        let left = left.map(|path| tree.top().join(path).symlink_metadata().is_ok());
        assert_eq!(left, [false, false, false, false, false, true]);
    }

    #[test]
    fn a_directory_needs_its_mount_points_and_says_its_interpreter() {
        let (directory, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut output = Output::open(out.path()).unwrap();
        let refused = from_directory("python3.13", directory.path(), &mut output).unwrap_err().to_string();
        assert!(refused.contains("mkdir -p dev proc tmp var/runtime var/task"), "{refused}");
        for point in REQUIRED.into_iter().chain(["usr/local/bin"]) {
            fs::create_dir_all(directory.path().join(point)).unwrap();
        }
        fs::write(directory.path().join("usr/local/bin/python3.13"), "").unwrap();
        from_directory("python3.13", directory.path(), &mut output).unwrap();
        assert!(out.path().join("python3.13.erofs").exists());
        assert_eq!(interpreter("python3.13", directory.path()).as_deref(), Some("/usr/local/bin/python3.13"));
        assert_eq!(
            (interpreter("provided", directory.path()), interpreter("nodejs22.x", directory.path())),
            (None, None)
        );
    }
}
