//! The small guest kernel: Debian's `linux-source` package with `guest-image/kernel.config` on top of `allnoconfig`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail};

use super::arguments::Arguments;
use super::output::Output;
use super::{EPOCH, Place, printed_by, run};

/// The sources, as the package has them; 6.1 is what the configuration was reasoned for.
const SOURCE: &str = "/usr/src/linux-source-6.1.tar.xz";
/// The kernel's file in the output.
const FILE: &str = "vmlinux";
/// What of the sources is not unpacked: half of them, drivers for hardware that no guest has. Their `Kconfig` stays.
const LEFT_OUT: [&str; 8] = [
    "*/Documentation/*/*",
    "*/tools/testing/*",
    "*/drivers/gpu/*.[ch]",
    "*/drivers/net/*/*.[ch]",
    "*/drivers/media/*.[ch]",
    "*/drivers/staging/*.[ch]",
    "*/drivers/scsi/*/*.[ch]",
    "*/sound/*.[ch]",
];

/// Builds it, unless it is there.
pub(super) fn make(place: &Place, output: &mut Output, arguments: &Arguments) -> Result<()> {
    let config = place.recipes.join("kernel.config");
    let text = fs::read_to_string(&config).with_context(|| format!("reading {}", config.display()))?;
    let package = fs::metadata(SOURCE).with_context(|| {
        format!("{SOURCE} is not there: install the package linux-source-6.1 with `xtask/packages.sh guest-image`")
    })?;
    let compiler = printed_by(Command::new("gcc").arg("--version"))?;
    let modified = package.modified().ok();
    let inputs = format!("{text}\n{compiler}\n{SOURCE} {} {modified:?}", package.len());
    if !arguments.fresh {
        if output.has_kernel(FILE) && output.is_current(FILE, &inputs) {
            return Ok(());
        }
        if let Some(shared) = &arguments.share
            && output.share_kernel(shared, FILE, &inputs)?
        {
            return Ok(());
        }
    }
    let (source, build) = (place.work.join("linux"), place.work.join("linux-build"));
    unpack(&source, &format!("{} {modified:?}", package.len()))?;
    fs::create_dir_all(&build).with_context(|| format!("making {}", build.display()))?;
    configure(&source, &build, &config, &text)?;
    println!("guest-image: building the kernel (about three minutes on two CPUs)");
    let jobs = available_parallelism().map_or(1, std::num::NonZero::get);
    run(in_tree(&source, &build).args([&format!("-j{jobs}"), "vmlinux"]))?;
    let release = printed_by(in_tree(&source, &build).arg("kernelrelease"))?;
    output.put(FILE, &inputs, |to| {
        // Symbols are for who debugs: they are in the unstripped file beside the build.
        run(Command::new("strip").arg("-o").args([to, &build.join("vmlinux")]))
    })?;
    output.list_kernel(FILE, &release, false, Vec::new())
}

/// Unpacks the sources, unless this package's are there.
fn unpack(source: &Path, package: &str) -> Result<()> {
    let stamp = source.join(".unpacked-from");
    if fs::read_to_string(&stamp).is_ok_and(|from| from == package) {
        return Ok(());
    }
    if source.exists() {
        fs::remove_dir_all(source).with_context(|| format!("removing {}", source.display()))?;
    }
    fs::create_dir_all(source).with_context(|| format!("making {}", source.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["-xJf", SOURCE, "--strip-components=1", "--no-same-owner", "-C"]).arg(source);
    run(tar.args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}"))))?;
    fs::write(&stamp, package).with_context(|| format!("writing {}", stamp.display()))
}

/// Makes the configuration, and refuses it if a line did not take: it was misspelled, or what it depends on is missing.
fn configure(source: &Path, build: &Path, config: &Path, text: &str) -> Result<()> {
    let mut make = in_tree(source, build);
    run(make.env("KCONFIG_ALLCONFIG", std::path::absolute(config)?).arg("allnoconfig"))?;
    let made = build.join(".config");
    let made = fs::read_to_string(&made).with_context(|| format!("reading {}", made.display()))?;
    let lost = not_taken(text, &made);
    if !lost.is_empty() {
        bail!("{}: these lines did not take: {}", config.display(), lost.join(", "));
    }
    Ok(())
}

/// `make` with everything that would otherwise say when, where and by whom the kernel was built.
fn in_tree(source: &Path, build: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(source).arg(format!("O={}", build.display()));
    make.args([&format!("KBUILD_BUILD_TIMESTAMP=@{EPOCH}"), "KBUILD_BUILD_USER=hearth", "KBUILD_BUILD_HOST=hearth"]);
    // Cargo's would be taken for the kernel's own.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env("LC_ALL", "C");
    make
}

/// Which lines of a configuration are not what was made of it. `=n` is how a fragment says that a line is not there.
fn not_taken<'a>(wanted: &'a str, made: &str) -> Vec<&'a str> {
    let lines = wanted.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let taken = |line: &str| match line.strip_suffix("=n") {
        Some(name) => !made.lines().any(|made| made.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))),
        None => made.lines().any(|made| made == line),
    };
    lines.filter(|line| !taken(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_did_not_take_is_found() {
        let made = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=7\nCONFIG_DD=y\n";
        let wanted = "# why\nCONFIG_A=y\n\nCONFIG_B=n\nCONFIG_C=7\nCONFIG_D=n\n";
        assert!(not_taken(wanted, made).is_empty());
        let lost = "CONFIG_A=n\nCONFIG_B=y\nCONFIG_C=8\nCONFIG_E=y";
        assert_eq!(not_taken(lost, made), lost.lines().collect::<Vec<_>>());
    }
}
