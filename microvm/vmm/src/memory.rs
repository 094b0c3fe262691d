//! Guest memory: a mapping of one file, in one region below the hole and, for large machines, one above.

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::layout::{HIGH_RAM_START, LOW_RAM_MAX_BYTES};
use crate::sys;

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
///
/// Where a private mapping's file has holes, the memory is anonymous: a page that the guest fills for the first time is
/// then neither brought into the file's cache nor copied from there. Its pages are small, whatever the host prefers,
/// until [`prefer_huge_pages`]: a guest that touches a little of much must not pay for much.
pub fn map(file: &File, memory_mib: u32, mapping: Mapping) -> io::Result<GuestMemory> {
    if file.metadata()?.len() < u64::from(memory_mib) << 20 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the memory's file is smaller than the machine's memory",
        ));
    }
    let mapped = regions(memory_mib).into_iter().map(|(at, offset, bytes)| {
        let region = match mapping {
            Mapping::Shared => map_all(file, offset, bytes)?,
            Mapping::Private => map_data(file, offset, bytes)?,
        };
        sys::memory::prefer_huge_pages(&region, false)?;
        GuestRegionMmap::new(region, GuestAddress(at)).ok_or_else(|| io::Error::other("guest memory wraps around"))
    });
    let mapped = mapped.collect::<io::Result<Vec<_>>>()?;
    GuestMemory::from_regions(mapped).map_err(io::Error::other)
}

/// Asks for huge pages wherever the guest writes.
pub fn prefer_huge_pages(memory: &GuestMemory) -> io::Result<()> {
    memory.iter().try_for_each(|region| sys::memory::prefer_huge_pages(region, true))
}

const PROTECTION: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// The whole of a region, shared.
fn map_all(file: &File, offset: u64, bytes: u64) -> io::Result<MmapRegion> {
    let part = FileOffset::new(file.try_clone()?, offset);
    let size = usize::try_from(bytes).map_err(io::Error::other)?;
    MmapRegion::build(Some(part), size, PROTECTION, libc::MAP_NORESERVE | libc::MAP_SHARED).map_err(io::Error::other)
}

/// Anonymous memory with the data of the file over it, private.
fn map_data(file: &File, offset: u64, bytes: u64) -> io::Result<MmapRegion> {
    let size = usize::try_from(bytes).map_err(io::Error::other)?;
    let flags = libc::MAP_NORESERVE | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let mut region = MmapRegion::build(None, size, PROTECTION, flags).map_err(io::Error::other)?;
    for (start, end) in data(file, offset, offset + bytes)? {
        sys::memory::overlay(&mut region, start - offset, file, start, end - start)?;
    }
    Ok(region)
}

/// Most parts of a region that are mapped for themselves: so many mappings of the process, and system calls at its
/// start. Data with less than this fraction of the region between them counts as one part.
const PARTS_MAX: u64 = 256;

/// Where `file` has data between `from` and `to`, as (start, end) at page boundaries.
fn data(file: &File, from: u64, to: u64) -> io::Result<Vec<(u64, u64)>> {
    let gap = (to - from) / PARTS_MAX;
    let (mut parts, mut at): (Vec<(u64, u64)>, _) = (Vec::new(), from);
    while at < to {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < to => start.max(at) / PAGE_BYTES * PAGE_BYTES,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.next_multiple_of(PAGE_BYTES).min(to);
        match parts.last_mut() {
            Some(last) if start - last.1 <= gap => last.1 = end,
            _ => parts.push((start, end)),
        }
        at = end;
    }
    Ok(parts)
}

/// Granularity of mappings, bytes.
const PAGE_BYTES: u64 = 4096;

/// How `memory` was mapped.
#[must_use]
pub fn mapping(memory: &GuestMemory) -> Mapping {
    let is_shared = memory.iter().any(|region| region.flags() & libc::MAP_SHARED != 0);
    if is_shared { Mapping::Shared } else { Mapping::Private }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

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
        file.write_all_at(&[0; 0x3000], 0).unwrap();
        let (private, shared) = (map(&file, 128, Mapping::Private).unwrap(), map(&file, 128, Mapping::Shared).unwrap());
        private.write_obj(7_u64, GuestAddress(0x1000)).unwrap();
        assert_eq!(shared.read_obj::<u64>(GuestAddress(0x1000)).unwrap(), 0);
        shared.write_obj(9_u64, GuestAddress(0x2000)).unwrap();
        assert_eq!(private.read_obj::<u64>(GuestAddress(0x2000)).unwrap(), 9);
    }

    #[test]
    fn data_of_a_sparse_file_is_seen_and_its_holes_are_the_machines_own() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(128 << 20).unwrap();
        let (first, last) = (0x1000_u64, (128 << 20) - 8);
        let pages: Vec<u64> = [first, last].into_iter().chain((20..40).map(|mib| mib << 20)).collect();
        for at in &pages {
            file.write_all_at(&at.to_le_bytes(), *at).unwrap();
        }
        let parts = data(&file, 0, 128 << 20).unwrap();
        assert!(parts.len() >= 3 && parts.len() as u64 <= PARTS_MAX, "{parts:?}");
        let memory = map(&file, 128, Mapping::Private).unwrap();
        for at in pages {
            assert_eq!(memory.read_obj::<u64>(GuestAddress(at)).unwrap(), at);
        }
        memory.write_obj(7_u64, GuestAddress(64 << 20)).unwrap();
        assert_eq!(data(&file, 0, 128 << 20).unwrap(), parts);
    }
}
