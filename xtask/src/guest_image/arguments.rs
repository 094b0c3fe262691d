//! What `cargo xtask guest-image` was asked for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// One task of `cargo xtask`, for its usage.
pub(crate) const USAGE: &str = "\
cargo xtask guest-image        make what microVMs boot from, in target/release/guest-images
    --out DIR                  elsewhere; `hearth` looks beside itself: target/debug/guest-images for a debug build
    --only PART                only `kernel`, `provided`, `python`, `nodejs`, `ruby`, `java` (repeatable)
    --kernel-from-deb [DEB]    Debian's stock cloud kernel with its modules, or that of a package, in place of ours;
                               goes to target/release/guest-images-stock unless --out says otherwise
    --share DIR                our kernel and runtime images that DIR has from the same recipe are taken from there, as links
    --from-dir NAME=DIR        also an image NAME of a root file system of your own (repeatable)
    --fresh                    make anew what is there
    --twice                    make each runtime image two times, and refuse a difference";

/// The arguments, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) out: PathBuf,
    only: Vec<String>,
    pub(super) kernel: KernelSource,
    pub(super) share: Option<PathBuf>,
    pub(super) directories: Vec<(String, PathBuf)>,
    pub(super) fresh: bool,
    pub(super) twice: bool,
}

/// Where the kernel comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KernelSource {
    /// Built from `guest-image/kernel.config`.
    Small,
    /// Debian's stock cloud kernel, whatever version is current.
    Debian,
    /// A package that was downloaded.
    Package(PathBuf),
}

/// Something to make.
pub(super) enum Part<'a> {
    Kernel,
    /// By its name in the recipes.
    Image(&'a str),
}

impl Arguments {
    /// Understands the arguments behind `guest-image`; `target` is Cargo's directory.
    pub(super) fn parse(arguments: &[String], target: &Path) -> Result<Self> {
        let mut parsed = Self {
            out: PathBuf::new(),
            only: Vec::new(),
            kernel: KernelSource::Small,
            share: None,
            directories: Vec::new(),
            fresh: false,
            twice: false,
        };
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--out" => parsed.out = value()?.into(),
                "--only" => parsed.only.push(value()?.clone()),
                "--share" => parsed.share = Some(value()?.into()),
                "--from-dir" => parsed.directories.push(named_directory(value()?)?),
                "--kernel-from-deb" => {
                    parsed.kernel = match rest.next_if(|next| !next.starts_with("--")) {
                        Some(package) => KernelSource::Package(package.into()),
                        None => KernelSource::Debian,
                    };
                }
                "--fresh" => parsed.fresh = true,
                "--twice" => parsed.twice = true,
                other => bail!("unknown argument {other}\n{USAGE}"),
            }
        }
        if parsed.out.as_os_str().is_empty() {
            let stock = if parsed.kernel == KernelSource::Small { "" } else { "-stock" };
            parsed.out = target.join(format!("release/guest-images{stock}"));
        }
        Ok(parsed)
    }

    /// Whether this is to be made.
    pub(super) fn wants(&self, part: Part<'_>) -> bool {
        let name = match part {
            Part::Kernel => "kernel",
            Part::Image(name) => name,
        };
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn named_directory(value: &str) -> Result<(String, PathBuf)> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match value.split_once('=') {
        Some((name, directory)) if !name.is_empty() && name.bytes().all(legal) && !name.starts_with('.') => {
            Ok((name.to_owned(), directory.into()))
        }
        _ => bail!("--from-dir needs NAME=DIRECTORY, where NAME is a runtime such as python3.13, not {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Arguments::parse(&arguments, Path::new("/target"))
    }

    #[test]
    fn without_arguments_all_is_made_where_the_release_looks() {
        let all = parse(&[]).unwrap();
        assert_eq!((all.out.to_str(), all.fresh, all.twice), (Some("/target/release/guest-images"), false, false));
        assert!(all.wants(Part::Kernel) && all.wants(Part::Image("python")));
    }

    #[test]
    fn parts_kernels_and_directories_are_chosen() {
        let some = parse(&["--only", "python", "--from-dir", "ruby3.3=/srv/ruby", "--twice"]).unwrap();
        assert!(!some.wants(Part::Kernel) && some.wants(Part::Image("python")) && some.twice);
        assert_eq!(some.directories, [("ruby3.3".to_owned(), PathBuf::from("/srv/ruby"))]);
        let stock = parse(&["--kernel-from-deb", "--fresh"]).unwrap();
        assert_eq!((stock.kernel, stock.out.ends_with("guest-images-stock")), (KernelSource::Debian, true));
        let own = parse(&["--kernel-from-deb", "k.deb", "--out", "o"]).unwrap();
        assert_eq!((own.kernel, own.out), (KernelSource::Package("k.deb".into()), PathBuf::from("o")));
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in [&["--what"][..], &["--out"], &["--from-dir", "/x"], &["--from-dir", "../x=/y"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
