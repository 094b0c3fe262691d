//! Boot images: made once for each kind of machine, kept as long as the launcher, mapped by every machine of the kind.
//!
//! They have no name in the file system: a launcher that is killed leaves nothing of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hearth_vmm::boot;
use hearth_vmm::control::VcpuStart;
use hearth_vmm::layout::Slot;
use rustix::fs::{Mode, OFlags};
use tokio::sync::OnceCell;

use super::initramfs::{self, Content};
use super::origin::Written;

/// Most kinds of machines at a time; the one used least is given up for another. Each has a few MB of data.
const KINDS_MAX: usize = 64;
/// Largest kernel, bytes.
pub(super) const KERNEL_MAX_BYTES: u64 = 256 << 20;

/// What makes one machine's memory at its start different from another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) kernel: PathBuf,
    pub(super) acpi: bool,
    pub(super) modules: Vec<PathBuf>,
    pub(super) command_line: String,
    pub(super) init: PathBuf,
    pub(super) read_only: Vec<(PathBuf, PathBuf)>,
    pub(super) memory_mib: u32,
    pub(super) vcpus: u8,
    pub(super) slots: Vec<Slot>,
    pub(super) serial: bool,
}

/// Memory as it is before a machine's first instruction.
pub(super) struct BootImage {
    /// Read-only.
    pub(super) file: File,
    pub(super) start: VcpuStart,
    /// What its machines write while they boot.
    pub(super) written: Written,
}

/// All boot images of a launcher.
pub(super) struct BootImages {
    directory: PathBuf,
    made: Mutex<HashMap<Kind, Entry>>,
}

struct Entry {
    image: Arc<OnceCell<Arc<BootImage>>>,
    /// Rises with every use.
    used: u64,
}

impl BootImages {
    /// In unnamed files on the file system of `directory`.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, made: Mutex::default() }
    }

    /// The boot image of a kind of machine; made if it is the first, by one of those who ask at the same time.
    pub(super) async fn get(&self, kind: &Kind) -> io::Result<Arc<BootImage>> {
        let cell = self.cell(kind);
        let image = cell.get_or_try_init(|| async {
            let (kind, directory) = (kind.clone(), self.directory.clone());
            let made = tokio::task::spawn_blocking(move || make(&kind, &directory)).await.map_err(io::Error::other)?;
            made.map(Arc::new)
        });
        image.await.cloned()
    }

    fn cell(&self, kind: &Kind) -> Arc<OnceCell<Arc<BootImage>>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let now = made.values().map(|entry| entry.used).max().unwrap_or(0) + 1;
        if let Some(entry) = made.get_mut(kind) {
            entry.used = now;
            return Arc::clone(&entry.image);
        }
        if made.len() >= KINDS_MAX
            && let Some(oldest) = made.iter().min_by_key(|(_, entry)| entry.used).map(|(kind, _)| kind.clone())
        {
            made.remove(&oldest);
        }
        let entry = Entry { image: Arc::default(), used: now };
        Arc::clone(&made.entry(kind.clone()).or_insert(entry).image)
    }
}

fn make(kind: &Kind, directory: &Path) -> io::Result<BootImage> {
    let size = fs::metadata(&kind.kernel).map_err(|error| at(&kind.kernel, &error))?.len();
    if size > KERNEL_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{} has {size} bytes", kind.kernel.display())));
    }
    let kernel = fs::read(&kind.kernel).map_err(|error| at(&kind.kernel, &error))?;
    let content = Content { init: &kind.init, read_only: &kind.read_only, modules: &kind.modules };
    let initrd = initramfs::build(content).map_err(io::Error::other)?;
    let file = unnamed(directory)?;
    let image = boot::BootImage {
        kernel: &kernel,
        initrd: &initrd,
        command_line: &kind.command_line,
        memory_mib: kind.memory_mib,
        vcpus: kind.vcpus,
        slots: &kind.slots,
        serial: kind.serial,
        acpi: kind.acpi,
        entry: None,
    };
    let start = image.build(&file).map_err(io::Error::other)?;
    // A process that maps it must not be able to write to it.
    let file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(BootImage { file, start, written: Written::default() })
}

/// A file that is gone when nobody has it open any more.
fn unnamed(directory: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags | OFlags::TMPFILE, Mode::from(0o600)) {
        Ok(file) => Ok(file.into()),
        // Not every file system can.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let path = directory.join(format!("boot-image-{}", std::process::id()));
            let file = rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL, Mode::from(0o600))?;
            fs::remove_file(path)?;
            Ok(file.into())
        }
        Err(error) => Err(at(directory, &error.into())),
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
