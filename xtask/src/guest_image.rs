//! `guest-image`: makes the directory that microVMs boot from: a kernel, runtime images, and their list.
//!
//! ```text
//!  guest-image/kernel.config ──▶ kernel: Debian's linux-source ──▶ vmlinux ┐
//!                          or ──▶ stock: Debian's own kernel, modules      ├─▶ manifest.json (hearth_microvm::kvm)
//!  guest-image/images.toml ──▶ tree: mmdebstrap, trimmed ──▶ NAME.erofs ───┘
//! ```
//!
//! What is there and was made from the same recipe stays (`--fresh` makes it anew); what another run made is kept in
//! the list. A file is complete or absent: each is written beside its place and renamed. Equal packages give equal
//! bytes; `--twice` makes every runtime image a second time and refuses a difference.
//!
//! Absent on purpose: the initial RAM disk. It holds the shim, so the launcher packs it itself.

mod arguments;
mod kernel;
mod output;
mod recipe;
mod stock;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub(crate) use arguments::USAGE;
use arguments::{Arguments, KernelSource, Part};
use output::Output;
use recipe::Recipes;

/// The first second of 1980, the earliest that a zip file can tell: the time of everything that is made here.
const EPOCH: &str = "315532800";

/// Makes what the arguments ask for.
pub(crate) fn make(root: &Path, arguments: &[String]) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |path| root.join(path));
    let arguments = Arguments::parse(arguments, &target)?;
    let place = Place { recipes: root.join("guest-image"), work: target.join("guest-image") };
    fs::create_dir_all(&place.work).with_context(|| format!("making {}", place.work.display()))?;
    let mut output = Output::open(&arguments.out)?;
    if arguments.wants(Part::Kernel) {
        match &arguments.kernel {
            KernelSource::Small => kernel::make(&place, &mut output, &arguments)?,
            KernelSource::Debian => stock::make(&place, None, &mut output, arguments.fresh)?,
            KernelSource::Package(package) => stock::make(&place, Some(package), &mut output, arguments.fresh)?,
        }
    }
    let recipes = Recipes::read(&place.recipes.join("images.toml"))?;
    for (part, recipe) in &recipes.images {
        if arguments.wants(Part::Image(part)) {
            tree::make(&place, &recipes, part, recipe, &mut output, &arguments)?;
        }
    }
    for (name, directory) in &arguments.directories {
        tree::from_directory(name, directory, &mut output)?;
    }
    output.close()?;
    println!("{}", arguments.out.display());
    Ok(())
}

/// Where things are.
pub(crate) struct Place {
    /// Folder guest-image/ of the tree.
    recipes: PathBuf,
    /// What is kept between runs.
    work: PathBuf,
}

/// Runs a program and wants it to succeed.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| missing(&name))?;
    if status.success() { Ok(()) } else { bail!("{name} failed: {status}") }
}

/// Runs a program and takes what it prints.
fn printed_by(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| missing(&name))?;
    if !output.status.success() {
        bail!("{name} failed: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn missing(program: &str) -> String {
    format!("running {program}: install what guest images need with `xtask/packages.sh guest-image`")
}
