//! What a machine goes on from: the memory it maps, and what is known about how that memory is used.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hearth_vmm::snapshot::prefetch::{self, Run};

use super::boot_images::BootImage;
use super::snapshots::Loaded;

/// See the module.
#[derive(Clone)]
pub(super) enum Origin {
    /// The moment before its first instruction.
    Boot {
        image: Arc<BootImage>,
        /// Whether it finds its devices by ACPI.
        acpi: bool,
        memory_mib: u32,
    },
    /// Another machine's moment of rest.
    Snapshot(Arc<Loaded>),
}

impl Origin {
    /// The memory's file.
    pub(super) fn memory(&self) -> &File {
        match self {
            Self::Boot { image, .. } => &image.file,
            Self::Snapshot(loaded) => loaded.snapshot.memory(),
        }
    }

    /// The code image that belongs to it.
    pub(super) fn code(&self) -> Option<&File> {
        match self {
            Self::Boot { .. } => None,
            Self::Snapshot(loaded) => loaded.code.as_ref(),
        }
    }

    /// The pages that a machine of this origin writes at once; none until recorded.
    pub(super) fn prefetch(&self) -> Vec<Run> {
        match self {
            Self::Boot { image, .. } => image.written.get(),
            Self::Snapshot(loaded) => loaded.snapshot.prefetch(),
        }
    }

    /// Whether [`Self::record_prefetch`] has been called for it.
    pub(super) fn has_prefetch(&self) -> bool {
        match self {
            Self::Boot { image, .. } => !image.written.get().is_empty(),
            Self::Snapshot(loaded) => loaded.snapshot.has_prefetch(),
        }
    }

    /// Takes down what one machine wrote: for a boot image as long as the launcher has it, for a snapshot in its
    /// directory. `pagemap` is `/proc/PID/pagemap` of its process. Blocking.
    pub(super) fn record_prefetch(&self, pagemap: &File, mapped_at: [u64; 2]) -> io::Result<()> {
        match self {
            Self::Boot { image, memory_mib, .. } => {
                image.written.set(prefetch::record(pagemap, mapped_at, *memory_mib)?);
                Ok(())
            }
            Self::Snapshot(loaded) => loaded.snapshot.record_prefetch(pagemap, mapped_at),
        }
    }
}

/// Which pages machines of one kind write while they boot; none until one has told.
#[derive(Default)]
pub(super) struct Written(Mutex<Vec<Run>>);

impl Written {
    fn get(&self) -> Vec<Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, runs: Vec<Run>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = runs;
    }
}
