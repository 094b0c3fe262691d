//! Debian's stock cloud kernel: unpacked from its package, with the modules that a guest needs to find its drives.
//!
//! The package holds a bzImage, whose kernel is compressed with LZ4. It is unpacked here once, rather than by every
//! guest.

mod lz4;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::output::Output;
use super::{Place, printed_by, run};

/// The package that depends on the current kernel's.
const CURRENT: &str = "linux-image-cloud-amd64";
/// The kernel's file in the output.
const FILE: &str = "vmlinux";
/// Where the modules go in the output.
const MODULES: &str = "modules";
/// What a guest can't do without, in this order; each brings what it depends on.
const WANTED: [&str; 9] = [
    "virtio_mmio",
    "virtio_blk",
    "vmw_vsock_virtio_transport",
    "erofs",
    "squashfs",
    "overlay",
    "virtio_balloon",
    "virtio-rng",
    "virtio_net",
];
/// Where `modprobe` and `depmod` are, which is not on everybody's path.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Unpacks the kernel of a package, or of Debian's current one.
pub(super) fn make(place: &Place, package: Option<&Path>, output: &mut Output, fresh: bool) -> Result<()> {
    let package = match package {
        Some(package) => package.to_owned(),
        None => download(place)?,
    };
    let inputs = package.file_name().map(|name| name.to_string_lossy().into_owned());
    let inputs = inputs.with_context(|| format!("{} is no package", package.display()))?;
    if !fresh && output.has_kernel(FILE) && output.is_current(FILE, &inputs) {
        return Ok(());
    }
    let unpacked = tempfile::tempdir_in(&place.work).context("making a directory for the package")?;
    let unpacked = unpacked.path();
    run(Command::new("dpkg-deb").arg("-x").args([&package, unpacked]))?;
    let release = release(unpacked).with_context(|| format!("looking into {}", package.display()))?;
    let files = modules(unpacked, &release)?;
    fs::create_dir_all(output.path(MODULES)).context("making the directory of modules")?;
    let mut listed = Vec::new();
    for file in files {
        let name = file.file_name().with_context(|| format!("{} is no module", file.display()))?;
        let listed_as = Path::new(MODULES).join(name);
        fs::copy(&file, output.path(MODULES).join(name)).with_context(|| format!("copying {}", file.display()))?;
        listed.push(listed_as);
    }
    let image = unpacked.join(format!("boot/vmlinuz-{release}"));
    let image = fs::read(&image).with_context(|| format!("reading {}", image.display()))?;
    output.put(FILE, &inputs, |to| {
        let kernel = lz4::unpack(payload(&image)?)?;
        if !kernel.starts_with(b"\x7fELF") {
            bail!("what the bzImage holds is no kernel");
        }
        Ok(fs::write(to, kernel)?)
    })?;
    output.list_kernel(FILE, &release, true, listed)
}

/// Fetches Debian's current kernel package, unless it is there, and says where it is.
fn download(place: &Place) -> Result<PathBuf> {
    let depends = printed_by(Command::new("apt-cache").args(["depends", CURRENT]))?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let package = package.with_context(|| format!("apt-cache knows no kernel for {CURRENT}: run `apt-get update`"))?;
    let name = format!("linux-image-{package}");
    let version = printed_by(Command::new("apt-cache").args(["show", "--no-all-versions", &name]))?;
    let field = |field: &str| version.lines().find_map(|line| line.strip_prefix(field)).map(str::trim);
    let (Some(version), Some(architecture)) = (field("Version:"), field("Architecture:")) else {
        bail!("apt-cache knows no version of {name}");
    };
    let file = place.work.join(format!("{name}_{}_{architecture}.deb", version.replace(':', "%3a")));
    if !file.exists() {
        run(Command::new("apt-get").args(["download", "-q", &name]).current_dir(&place.work))?;
    }
    Ok(file)
}

/// The only kernel release in an unpacked package.
fn release(unpacked: &Path) -> Result<String> {
    let directory = unpacked.join("lib/modules");
    let entries = fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
    let names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    match &names[..] {
        [release] => Ok(release.clone()),
        _ => bail!("there should be one kernel, not {}", names.len()),
    }
}

/// Module files in the order in which they are loaded.
fn modules(unpacked: &Path, release: &str) -> Result<Vec<PathBuf>> {
    run(Command::new("depmod").env("PATH", PATH).arg("-b").arg(unpacked).arg(release))?;
    let mut files = Vec::new();
    for module in WANTED {
        let mut modprobe = Command::new("modprobe");
        modprobe.env("PATH", PATH).arg("-d").arg(unpacked).args(["-S", release, "--show-depends", module]);
        let lines = printed_by(&mut modprobe)?;
        for file in lines.lines().filter_map(|line| line.trim().strip_prefix("insmod ")).map(PathBuf::from) {
            if file.extension().is_none_or(|extension| extension != "ko") {
                bail!("{} is compressed: give a package whose modules are not", file.display());
            }
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// The compressed kernel in a bzImage (Linux, `Documentation/x86/boot.rst`: `setup_sects`, `payload_offset`,
/// `payload_length`).
fn payload(image: &[u8]) -> Result<&[u8]> {
    const SECTOR: usize = 512;
    let number = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).context("the bzImage is cut off")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes))?)
    };
    if image.get(0x202..0x206) != Some(b"HdrS") {
        bail!("not a bzImage");
    }
    let setup = (number(0x1f1)? & 0xff) * SECTOR + SECTOR;
    let start = setup + number(0x248)?;
    image.get(start..start + number(0x24c)?).context("the bzImage is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_where_the_header_says() {
        let mut image = vec![0; 3 * 512];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248] = 16;
        image[0x24c] = 3;
        image[2 * 512 + 16..2 * 512 + 19].copy_from_slice(b"abc");
        assert_eq!(payload(&image).unwrap(), b"abc");
        image[0x24d] = 9;
        assert!(payload(&image).is_err() && payload(&image[..0x100]).is_err());
    }
}
