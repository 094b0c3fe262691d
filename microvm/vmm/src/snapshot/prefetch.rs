//! Which pages a restored guest writes at once: recorded after the first answer of one, brought in ahead for those that
//! follow.
//!
//! The page map of the VMM's process (Documentation/admin-guide/mm/pagemap.rst) tells for each page of guest memory
//! whether it is there, and whether it still is the file's or a copy that a write made. Only copies are brought in: each
//! would cost the guest an exit, a fault, and often a second of both, because it was read first. Absent on purpose:
//! pages that were only read. Mapping those ahead costs more than it saves while the file is in the page cache (the
//! kernel maps 16 around each fault anyway), and opening the snapshot has just read all of it.
//!
//! The list is made to fit into one control message: of one that is too long the shortest runs go.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use vm_memory::{GuestAddress, GuestMemoryBackend};

use crate::memory::{self, GuestMemory, Mapping};
use crate::sys::populate::populate;

/// A run of pages: first page of the memory file, how many. As in [`crate::control::Restore::prefetch`].
pub type Run = (u32, u32);

/// Longest list: at most 10 bytes each in a message of 64 KiB, of which descriptors and devices take little.
pub const RUNS_MAX: usize = 4096;
/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// Bits of an entry of the page map: present in memory, swapped out, of a file (or shared), only here.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;
const ENTRY_BYTES: u64 = 8;
/// Entries read at once.
const CHUNK_ENTRIES: u64 = 8192;

/// Reads `pagemap` (`/proc/PID/pagemap`) of a VMM whose guest of `memory_mib` is mapped at `mapped_at`, as
/// [`crate::control::VmmStats::memory_mapped_at`] says. A VMM that lies about it is told about itself, and gets a list
/// of its own making: the worst that does is a slow restore.
pub fn record(pagemap: &File, mapped_at: [u64; 2], memory_mib: u32) -> io::Result<Vec<Run>> {
    let mut runs = Runs::default();
    let mut buffer = Vec::new();
    for ((_, offset, bytes), address) in memory::regions(memory_mib).into_iter().zip(mapped_at) {
        let (first, pages) = (offset / PAGE_BYTES, bytes / PAGE_BYTES);
        for chunk in (0..pages).step_by(CHUNK_ENTRIES as usize) {
            let entries = CHUNK_ENTRIES.min(pages - chunk);
            buffer.resize((entries * ENTRY_BYTES) as usize, 0);
            pagemap.read_exact_at(&mut buffer, (address / PAGE_BYTES + chunk) * ENTRY_BYTES)?;
            for (page, entry) in (first + chunk..).zip(buffer.as_chunks().0) {
                runs.add(page as u32, u64::from_ne_bytes(*entry));
            }
        }
    }
    Ok(fit(runs.0, RUNS_MAX))
}

/// Makes the machine its own copies of the pages. Before the first vCPU runs. Runs outside the memory are left out;
/// answers how many pages are there now.
///
/// Of memory that is mapped shared nothing is brought in: what is written there is the snapshot.
///
/// A kernel that can't (before Linux 5.14), or is short of memory, brings in less: the guest does not notice.
pub fn bring_in(memory: &GuestMemory, memory_mib: u32, runs: &[Run]) -> u64 {
    let mut pages = 0;
    if memory::mapping(memory) == Mapping::Shared {
        return pages;
    }
    for (first, count) in runs {
        let (start, end) = (u64::from(*first) * PAGE_BYTES, (u64::from(*first) + u64::from(*count)) * PAGE_BYTES);
        for (address, offset, bytes) in memory::regions(memory_mib) {
            let (from, to) = (start.max(offset), end.min(offset + bytes));
            if from >= to {
                continue;
            }
            let slice = memory.get_slice(GuestAddress(address + (from - offset)), (to - from) as usize);
            if slice.is_ok_and(|slice| populate(&slice).is_ok()) {
                pages += (to - from) / PAGE_BYTES;
            }
        }
    }
    pages
}

#[derive(Default)]
struct Runs(Vec<Run>);

impl Runs {
    fn add(&mut self, page: u32, entry: u64) {
        // What is anonymous and not only here is the page of zeros, read in a hole.
        if entry & OF_FILE != 0 || entry & (SWAPPED | EXCLUSIVE) == 0 || entry & (PRESENT | SWAPPED) == 0 {
            return;
        }
        match self.0.last_mut() {
            Some((first, count)) if *first + *count == page => *count += 1,
            _ => self.0.push((page, 1)),
        }
    }
}

/// Makes a list of at most `most` runs of it.
fn fit(mut runs: Vec<Run>, most: usize) -> Vec<Run> {
    if runs.len() > most {
        runs.sort_unstable_by_key(|(first, count)| (std::cmp::Reverse(*count), *first));
        runs.truncate(most);
        runs.sort_unstable();
    }
    runs
}

/// Whether a list is in order, without overlap and within a machine of `memory_mib`.
pub(super) fn is_valid(runs: &[Run], memory_mib: u32) -> bool {
    let pages = (u64::from(memory_mib) << 20) / PAGE_BYTES;
    let mut end = 0;
    runs.len() <= RUNS_MAX
        && runs.iter().all(|(first, count)| {
            let fits = u64::from(*first) >= end && *count > 0;
            end = u64::from(*first) + u64::from(*count);
            fits && end <= pages
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend as _};

    use super::*;

    #[test]
    fn own_page_map_tells_what_was_written() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(128 << 20).unwrap();
        for at in [40 << 20, 0x4000] {
            file.write_all_at(&[7; 4096 * 4], at).unwrap();
        }
        let memory = memory::map(&file, 128, Mapping::Private).unwrap();
        memory.write_obj(1_u8, GuestAddress(0x5000)).unwrap();
        memory.write_obj(1_u8, GuestAddress(0x6000)).unwrap();
        memory.read_obj::<u8>(GuestAddress(40 << 20)).unwrap();
        // In a hole: read, and written.
        memory.read_obj::<u8>(GuestAddress(64 << 20)).unwrap();
        memory.write_obj(1_u8, GuestAddress(80 << 20)).unwrap();
        let at = memory.get_host_address(GuestAddress(0)).unwrap() as u64;
        let runs = record(&File::open("/proc/self/pagemap").unwrap(), [at, 0], 128).unwrap();
        assert_eq!(runs, [(5, 2), (80 << 8, 1)]);
    }

    #[test]
    fn what_is_brought_in_is_there_and_the_file_as_it_was() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(128 << 20).unwrap();
        file.write_all_at(&[7; 4096 * 64], 0).unwrap();
        let memory = memory::map(&file, 128, Mapping::Private).unwrap();
        assert_eq!(bring_in(&memory, 128, &[(2, 3), (32767, 9), (40_000, 1)]), 4);
        let at = memory.get_host_address(GuestAddress(0)).unwrap() as u64;
        let runs = record(&File::open("/proc/self/pagemap").unwrap(), [at, 0], 128).unwrap();
        assert_eq!(runs, [(2, 3), (32767, 1)]);
        let mut bytes = [0; 4096];
        file.read_exact_at(&mut bytes, 2 * 4096).unwrap();
        assert_eq!(bytes, [7; 4096]);
        assert_eq!(memory.read_obj::<u8>(GuestAddress(2 * 4096)).unwrap(), 7);
    }

    #[test]
    fn memory_above_the_hole_follows_in_the_file() {
        let pagemap = tempfile::tempfile().unwrap();
        pagemap.set_len(64 << 20).unwrap();
        // The low region is mapped at page 16, the high one at page 2^20.
        pagemap.write_all_at(&(PRESENT | EXCLUSIVE).to_ne_bytes(), (16 + 1) * ENTRY_BYTES).unwrap();
        pagemap.write_all_at(&SWAPPED.to_ne_bytes(), ((1 << 20) + 2) * ENTRY_BYTES).unwrap();
        let runs = record(&pagemap, [16 * PAGE_BYTES, PAGE_BYTES << 20], 4096).unwrap();
        assert_eq!(runs, [(1, 1), ((3 << 18) + 2, 1)]);
    }

    #[test]
    fn a_list_that_is_too_long_loses_its_shortest_runs() {
        let runs = (0..100).map(|at| (at * 3, 1 + at % 2)).collect::<Vec<_>>();
        let kept = fit(runs, 50);
        assert!(kept.len() == 50 && kept.iter().all(|run| run.1 == 2) && is_valid(&kept, 128));
    }

    proptest! {
        #[test]
        fn what_fits_is_valid_and_part_of_what_was(
            entries in prop::collection::vec((any::<bool>(), 0_u64..8), 1..400),
            most in 1_usize..40,
        ) {
            let mut runs = Runs::default();
            for (page, (exclusive, entry)) in entries.iter().enumerate() {
                runs.add(page as u32, entry << 61 | u64::from(*exclusive) << 56);
            }
            prop_assert!(is_valid(&runs.0, 128));
            let fitted = fit(runs.0.clone(), most);
            prop_assert!(fitted.len() <= most && is_valid(&fitted, 128));
            prop_assert!(fitted.iter().all(|run| runs.0.contains(run)));
        }
    }
}
