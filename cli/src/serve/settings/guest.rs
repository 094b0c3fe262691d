//! What microVMs are made of, apart from the guest images: another kernel, huge pages, limits of their drives.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hearth_daemon::config::Reader;

use super::Switch;

/// The settings that only microVMs have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GuestSettings {
    /// In place of the guest images' own.
    pub(crate) kernel: Option<GuestKernel>,
    /// Whether to ask for huge pages.
    pub(crate) huge_pages: bool,
    /// Megabytes a second from each drive, if limited.
    pub(crate) drive_bandwidth_mb: Option<NonZeroU32>,
    /// Requests a second to each drive, if limited.
    pub(crate) drive_requests: Option<NonZeroU32>,
    /// Where consoles are written.
    pub(crate) console: Option<PathBuf>,
}

/// A kernel that was named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GuestKernel {
    /// Its file.
    pub(crate) file: PathBuf,
    /// How it finds its devices.
    pub(crate) devices: Discovery,
    /// Its modules, in the order in which they are loaded.
    pub(crate) modules: Vec<PathBuf>,
}

/// How a kernel finds its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// In ACPI's tables.
    Acpi,
    /// On its command line.
    CommandLine,
}

impl FromStr for Discovery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "acpi" => Ok(Self::Acpi),
            "command-line" => Ok(Self::CommandLine),
            _ => Err("use acpi or command-line".into()),
        }
    }
}

/// Reads them.
pub(super) fn read(reader: &mut Reader) -> GuestSettings {
    GuestSettings {
        kernel: kernel(reader),
        huge_pages: reader.or("guest-huge-pages", Switch(false)).0,
        drive_bandwidth_mb: reader.optional("drive-bandwidth-mb"),
        drive_requests: reader.optional("drive-requests"),
        console: reader.optional::<PathBuf>("guest-console").map(|path| absolute(&path)),
    }
}

fn kernel(reader: &mut Reader) -> Option<GuestKernel> {
    let file = reader.optional::<PathBuf>("guest-kernel");
    let devices = reader.optional::<Discovery>("guest-kernel-devices");
    let modules: Vec<PathBuf> = reader.list::<PathBuf>("guest-kernel-modules");
    let Some(file) = file else {
        let given = [("guest-kernel-devices", devices.is_some()), ("guest-kernel-modules", !modules.is_empty())];
        for (setting, _) in given.into_iter().filter(|(_, given)| *given) {
            reader.reject(setting, "says something of a kernel that guest-kernel does not name");
        }
        return None;
    };
    let modules = modules.iter().map(|module| absolute(module)).collect();
    Some(GuestKernel { file: absolute(&file), devices: devices.unwrap_or(Discovery::Acpi), modules })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use hearth_daemon::config::{Layers, Mistakes};

    use super::*;

    fn settings(flags: &[(&str, &str)]) -> Result<GuestSettings, Mistakes> {
        let layers = flags.iter().fold(Layers::new(), |layers, (name, value)| layers.with_flag(name, Some(*value)));
        let mut reader = layers.reader();
        let read = read(&mut reader);
        reader.finish(Some(read))
    }

    #[test]
    fn nothing_is_limited_and_no_kernel_is_named_unless_said() {
        assert_eq!(settings(&[]).unwrap(), GuestSettings::default());
    }

    #[test]
    fn a_kernel_comes_with_its_modules_and_drives_with_their_limits() {
        let kernel = [("guest-kernel", "/boot/vmlinuz"), ("guest-kernel-modules", "/m/a.ko, /m/b.ko")];
        let limits = [("drive-bandwidth-mb", "50"), ("drive-requests", "200"), ("guest-huge-pages", "on")];
        let read = settings(&[&kernel[..], &limits].concat()).unwrap();
        let named = read.kernel.unwrap();
        assert_eq!((named.file, named.devices), (PathBuf::from("/boot/vmlinuz"), Discovery::Acpi));
        assert_eq!(named.modules, ["/m/a.ko", "/m/b.ko"].map(PathBuf::from));
        assert_eq!((read.drive_bandwidth_mb, read.drive_requests), (NonZeroU32::new(50), NonZeroU32::new(200)));
        assert!(read.huge_pages && read.console.is_none());
        let own = settings(&[("guest-kernel", "/v"), ("guest-kernel-devices", "command-line")]).unwrap();
        assert_eq!(own.kernel.unwrap().devices, Discovery::CommandLine);
    }

    #[test]
    fn mistakes_are_told_together() {
        let wrong = [
            ("guest-kernel-modules", "/m/a.ko"),
            ("guest-kernel-devices", "acpi"),
            ("drive-requests", "0"),
            ("drive-bandwidth-mb", "fast"),
            ("guest-huge-pages", "yes"),
        ];
        let told = settings(&wrong).unwrap_err().to_string();
        for (setting, _) in wrong {
            assert!(told.contains(setting), "{setting}: {told}");
        }
        let devices = [("guest-kernel", "/v"), ("guest-kernel-devices", "pci")];
        assert!(settings(&devices).unwrap_err().to_string().contains("acpi or command-line"));
    }
}
