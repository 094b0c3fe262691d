//! Guest memory: a mapping of one file, in one region below the hole and, for large machines, one above.

use std::fs::File;
use std::io;

use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::layout::{HIGH_RAM_START, LOW_RAM_MAX_BYTES};

/// The guest's memory. Cheap to clone.
pub type GuestMemory = GuestMemoryMmap<()>;

/// Smallest machine, MiB.
pub const MEMORY_MIN_MIB: u32 = 128;
/// Largest machine, MiB.
pub const MEMORY_MAX_MIB: u32 = 10 * 1024 + 512;

/// How writes of the guest relate to the file its memory maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Mapping {
    /// They stay in this machine: copy on write. The usual way.
    Private,
    /// They go to the file, which so becomes the memory of a snapshot.
    Shared,
}

/// Where in the file and where in the guest each part lies: (guest address, file offset, bytes).
#[must_use]
pub fn regions(memory_mib: u32) -> Vec<(u64, u64, u64)> {
    let bytes = u64::from(memory_mib) << 20;
    let low = bytes.min(LOW_RAM_MAX_BYTES);
    let mut regions = vec![(0, 0, low)];
    if bytes > low {
        regions.push((HIGH_RAM_START, low, bytes - low));
    }
    regions
}

/// Maps `file`, which has at least `memory_mib`, as guest memory.
pub fn map(file: &File, memory_mib: u32, mapping: Mapping) -> io::Result<GuestMemory> {
    let kind = match mapping {
        Mapping::Private => libc::MAP_PRIVATE,
        Mapping::Shared => libc::MAP_SHARED,
    };
    let mapped = regions(memory_mib).into_iter().map(|(at, offset, bytes)| {
        let size = usize::try_from(bytes).map_err(io::Error::other)?;
        let region = MmapRegion::build(
            Some(FileOffset::new(file.try_clone()?, offset)),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_NORESERVE | kind,
        );
        let region = region.map_err(io::Error::other)?;
        GuestRegionMmap::new(region, GuestAddress(at)).ok_or_else(|| io::Error::other("guest memory wraps around"))
    });
    let mapped = mapped.collect::<io::Result<Vec<_>>>()?;
    GuestMemory::from_regions(mapped).map_err(io::Error::other)
}

/// How `memory` was mapped.
#[must_use]
pub fn mapping(memory: &GuestMemory) -> Mapping {
    let is_shared = memory.iter().any(|region| region.flags() & libc::MAP_SHARED != 0);
    if is_shared { Mapping::Shared } else { Mapping::Private }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;

    #[test]
    fn memory_above_three_gib_goes_on_above_the_hole() {
        assert_eq!(regions(128), [(0, 0, 128 << 20)]);
        assert_eq!(regions(3072), [(0, 0, 3 << 30)]);
        assert_eq!(regions(4096), [(0, 0, 3 << 30), (4 << 30, 3 << 30, 1 << 30)]);
    }

    #[test]
    fn private_writes_stay_here_and_shared_ones_reach_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(128 << 20).unwrap();
        let (private, shared) = (map(&file, 128, Mapping::Private).unwrap(), map(&file, 128, Mapping::Shared).unwrap());
        private.write_obj(7_u64, GuestAddress(0x1000)).unwrap();
        assert_eq!(shared.read_obj::<u64>(GuestAddress(0x1000)).unwrap(), 0);
        shared.write_obj(9_u64, GuestAddress(0x2000)).unwrap();
        assert_eq!(private.read_obj::<u64>(GuestAddress(0x2000)).unwrap(), 9);
    }
}
