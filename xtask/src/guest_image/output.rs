//! The directory of guest images: files that are complete or absent, and the list of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use hearth_microvm::kvm::manifest::{Image, Kernel, MANIFEST_FILE, MANIFEST_VERSION, Manifest};
use sha2::{Digest, Sha256};

use super::printed_by;

/// The directory, with what its list says so far.
pub(super) struct Output {
    directory: PathBuf,
    kernel: Option<Kernel>,
    images: Vec<Image>,
}

impl Output {
    /// Opens the directory, made if missing. What is listed there and is still there stays listed.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        let old = Manifest::read(directory).ok();
        let (kernel, images) = old.map_or((None, Vec::new()), |old| (Some(old.kernel), old.images));
        Ok(Self { directory: directory.to_owned(), kernel, images })
    }

    /// Where a file of this name goes once it is complete.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether the file is there and was made from these inputs.
    pub(super) fn is_current(&self, name: &str, inputs: &str) -> bool {
        let stamp = fs::read_to_string(self.stamp(name)).unwrap_or_default();
        self.path(name).exists() && stamp == digest_of(inputs)
    }

    /// Has a file made beside its place, then puts it there; remembers what it was made from.
    pub(super) fn put(&self, name: &str, inputs: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (unfinished, stamp) = (self.path(&format!(".{name}.new")), self.stamp(name));
        make(&unfinished)?;
        // Never a new file with the old stamp.
        let _ = fs::remove_file(&stamp);
        fs::rename(&unfinished, self.path(name)).with_context(|| format!("putting {name} in place"))?;
        fs::write(&stamp, digest_of(inputs)).with_context(|| format!("writing {}", stamp.display()))
    }

    /// Takes what another directory has of a runtime image, if it has it.
    pub(super) fn share(&self, from: &Path, part: &str) -> Result<()> {
        let remembered = format!(".{part}.name");
        let Ok(name) = fs::read_to_string(from.join(&remembered)) else { return Ok(()) };
        self.take(from, &image_file(&name), &[&remembered])
    }

    /// Takes another directory's kernel, and lists it, if it was made from these inputs. Whether it was.
    pub(super) fn share_kernel(&mut self, from: &Path, file: &str, inputs: &str) -> Result<bool> {
        let other = Self::open(from)?;
        let shared = other.has_kernel(file) && other.is_current(file, inputs);
        if shared {
            self.take(from, file, &[])?;
            self.kernel = other.kernel;
        }
        Ok(shared)
    }

    /// Takes a file of another directory's as a link: such files are replaced, never written to, so what one of the two
    /// makes anew is not changed in the other. What it was made from, and what else is named, comes as copies.
    fn take(&self, from: &Path, file: &str, along: &[&str]) -> Result<()> {
        let taking = |what: &str| format!("taking {what} from {}", from.display());
        let _ = fs::remove_file(self.path(file));
        fs::hard_link(from.join(file), self.path(file))
            .or_else(|_| fs::copy(from.join(file), self.path(file)).map(drop))
            .with_context(|| taking(file))?;
        for small in along.iter().copied().chain([&*format!(".{file}.made-from")]) {
            fs::copy(from.join(small), self.path(small)).with_context(|| taking(small))?;
        }
        Ok(())
    }

    /// Lists the kernel.
    pub(super) fn list_kernel(&mut self, file: &str, release: &str, acpi: bool, modules: Vec<PathBuf>) -> Result<()> {
        let sha256 = digest(&self.path(file))?;
        self.kernel = Some(Kernel { file: file.into(), sha256, release: release.to_owned(), acpi, modules });
        Ok(())
    }

    /// What the list says of the kernel, if it is this file.
    pub(super) fn has_kernel(&self, file: &str) -> bool {
        self.kernel.as_ref().is_some_and(|kernel| kernel.file == Path::new(file))
    }

    /// Lists an image.
    pub(super) fn list_image(&mut self, name: &str, interpreter: Option<&str>) -> Result<()> {
        let file = image_file(name);
        let sha256 = digest(&self.path(&file))?;
        self.images.retain(|image| image.name != name);
        self.images.push(Image {
            name: name.to_owned(),
            file: file.into(),
            sha256,
            interpreter: interpreter.map(PathBuf::from),
        });
        Ok(())
    }

    /// Writes the list.
    pub(super) fn close(mut self) -> Result<()> {
        let Some(kernel) = self.kernel.take() else {
            println!("no list yet: it needs a kernel; run `cargo xtask guest-image --only kernel`");
            return Ok(());
        };
        self.images.sort_by(|one, other| one.name.cmp(&other.name));
        let manifest = Manifest { version: MANIFEST_VERSION, kernel, images: self.images };
        let unfinished = self.directory.join(".manifest.new");
        fs::write(&unfinished, serde_json::to_string_pretty(&manifest)? + "\n").context("writing the list")?;
        fs::rename(&unfinished, self.directory.join(MANIFEST_FILE)).context("putting the list in place")?;
        Ok(())
    }

    fn stamp(&self, name: &str) -> PathBuf {
        self.path(&format!(".{name}.made-from"))
    }
}

/// The file of an image of this name.
pub(super) fn image_file(name: &str) -> String {
    format!("{name}.erofs")
}

/// SHA-256 of a file, hexadecimal. By the program for it: in a debug build our own would take longer than all the rest.
pub(super) fn digest(path: &Path) -> Result<String> {
    let line = printed_by(Command::new("sha256sum").arg("--").arg(path))?;
    let digest = line.split_whitespace().next().filter(|digest| digest.len() == 64);
    Ok(digest.with_context(|| format!("sha256sum says {line:?}"))?.to_owned())
}

fn digest_of(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_image_is_current_where_it_was_not_made_and_stays_as_it_was_where_it_was() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let content = |text: &'static str| move |path: &Path| Ok(fs::write(path, text)?);
        let first = Output::open(one.path()).unwrap();
        first.put("python3.11.erofs", "recipe", content("image")).unwrap();
        fs::write(one.path().join(".python.name"), "python3.11").unwrap();
        let second = Output::open(other.path()).unwrap();
        second.share(one.path(), "nodejs").unwrap();
        second.share(one.path(), "python").unwrap();
        assert!(second.is_current("python3.11.erofs", "recipe") && !second.is_current("python3.11.erofs", "another"));
        second.put("python3.11.erofs", "another", content("new")).unwrap();
        assert_eq!(fs::read_to_string(one.path().join("python3.11.erofs")).unwrap(), "image");
        assert!(first.is_current("python3.11.erofs", "recipe"));
    }

    #[test]
    fn a_kernel_is_shared_where_it_was_made_from_the_same() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut first = Output::open(one.path()).unwrap();
        first.put("vmlinux", "configuration", |path| Ok(fs::write(path, "kernel")?)).unwrap();
        first.list_kernel("vmlinux", "6.1", false, Vec::new()).unwrap();
        first.close().unwrap();
        let mut second = Output::open(other.path()).unwrap();
        assert!(!second.share_kernel(one.path(), "vmlinux", "another").unwrap() && !second.has_kernel("vmlinux"));
        assert!(second.share_kernel(one.path(), "vmlinux", "configuration").unwrap());
        assert!(second.has_kernel("vmlinux") && second.is_current("vmlinux", "configuration"));
        second.close().unwrap();
        let lists = [one, other].map(|directory| Manifest::read(directory.path()).unwrap());
        assert_eq!(lists[0], lists[1]);
    }

    #[test]
    fn a_list_grows_and_what_was_made_from_the_same_is_current() {
        let directory = tempfile::tempdir().unwrap();
        let content = |text: &'static str| move |path: &Path| Ok(fs::write(path, text)?);
        let mut output = Output::open(directory.path()).unwrap();
        output.put("vmlinux", "configuration", content("kernel")).unwrap();
        output.list_kernel("vmlinux", "6.1", false, Vec::new()).unwrap();
        output.put("provided.erofs", "recipe", content("one")).unwrap();
        output.list_image("provided", None).unwrap();
        output.close().unwrap();

        let mut output = Output::open(directory.path()).unwrap();
        assert!(output.has_kernel("vmlinux") && output.is_current("vmlinux", "configuration"));
        assert!(!output.is_current("vmlinux", "other") && !output.is_current("python3.11.erofs", "recipe"));
        output.put("python3.11.erofs", "recipe", content("two")).unwrap();
        output.list_image("python3.11", Some("/usr/bin/python3.11")).unwrap();
        output.close().unwrap();

        let list = Manifest::read(directory.path()).unwrap();
        assert_eq!(list.images.iter().map(|image| &*image.name).collect::<Vec<_>>(), ["provided", "python3.11"]);
        assert_eq!(list.kernel.sha256, digest(&directory.path().join("vmlinux")).unwrap());
    }

    #[test]
    fn what_could_not_be_made_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let output = Output::open(directory.path()).unwrap();
        output.put("file", "a", |path| Ok(fs::write(path, "old")?)).unwrap();
        assert!(output.put("file", "b", |_| anyhow::bail!("no")).is_err());
        assert_eq!(fs::read_to_string(output.path("file")).unwrap(), "old");
        assert!(output.is_current("file", "a"));
    }
}
