//! The balloon against a driver of its own and a hostile one.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use proptest::prelude::*;
use vm_memory::Bytes as _;

use super::*;
use crate::devices::virtio::testing::{BUFFERS, Driver, MEMORY_BYTES};
use crate::memory::map;

const MIB: u32 = 128;

fn started() -> Driver {
    let mut driver = Driver::new(Box::new(Balloon::new().unwrap()));
    driver.start(u64::MAX);
    driver
}

fn mapped(mapping: Mapping) -> (Driver, File) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(u64::from(MIB) << 20).unwrap();
    let memory = map(&file, MIB, mapping).unwrap();
    let mut driver = Driver::with_memory(Box::new(Balloon::new().unwrap()), memory);
    driver.start(0);
    (driver, file)
}

fn balloon(driver: &mut Driver) -> &mut Balloon {
    driver.transport.device().unwrap()
}

fn numbers(pages: &[u32]) -> Vec<u8> {
    pages.iter().flat_map(|page| page.to_le_bytes()).collect()
}

#[test]
fn the_target_is_told_and_the_drivers_word_is_kept() {
    let mut driver = started();
    driver.was_interrupted();
    balloon(&mut driver).set_target(3);
    assert!(driver.was_interrupted());
    assert_eq!(driver.configuration(0), 768_u32.to_le_bytes());
    driver.write(0x104, 513);
    assert_eq!(balloon(&mut driver).held_mib(), 2);
    assert_eq!(driver.configuration(4), 513_u32.to_le_bytes());

    let state = driver.transport.save();
    let mut clone = Driver::with_memory(Box::new(Balloon::new().unwrap()), driver.memory.clone());
    clone.transport.restore(&state).unwrap();
    assert_eq!(clone.configuration::<8>(0), driver.configuration(0));
    balloon(&mut clone).set_target(u32::MAX);
    assert_eq!(clone.configuration(0), u32::MAX.to_le_bytes());
    assert!(Balloon::new().unwrap().restore(&[0; 7]).is_err());
}

#[test]
fn inflated_pages_are_the_hosts_again() {
    for mapping in [Mapping::Private, Mapping::Shared] {
        let (mut driver, file) = mapped(mapping);
        let first = 0x40_0000_u64;
        driver.memory.write_slice(&vec![7; 5 << 12], GuestAddress(first)).unwrap();
        let page = (first >> 12) as u32;
        // In any order, doubled, and with some that are not there; the fourth stays.
        driver.put(BUFFERS, &numbers(&[page + 2, page, u32::MAX, page + 1, page, page + 4, MIB << 8]));
        let blocks = file.metadata().unwrap().blocks();
        driver.add(INFLATE, &[(BUFFERS, 28, false)]);
        driver.notify(INFLATE);
        assert_eq!(driver.used(INFLATE), [(0, 0)]);
        assert!(driver.was_interrupted());
        for (n, byte) in [(0, 0), (1, 0), (2, 0), (3, 7), (4, 0)] {
            assert_eq!(driver.get(first + (n << 12), 1), [byte], "{mapping:?} {n}");
        }
        if mapping == Mapping::Shared {
            assert_eq!(file.metadata().unwrap().blocks(), blocks - 4 * 8);
        }
        driver.add(DEFLATE, &[(BUFFERS, 28, false)]);
        driver.notify(DEFLATE);
        assert_eq!(driver.used(DEFLATE).len(), 1);
    }
}

#[test]
fn reported_pages_are_given_back_and_counted_on_either_queue() {
    for queue in REPORTING {
        let (mut driver, _) = mapped(Mapping::Private);
        driver.memory.write_slice(&vec![7; 4 << 20], GuestAddress(0x40_0000)).unwrap();
        driver.add(queue, &[(0x40_0000, 2 << 20, true), (0x70_0000, 1 << 20, true)]);
        // Not at a page, not whole pages, not for the device to write, empty.
        driver.add(queue, &[(0x60_0001, 4096, true), (0x60_0000, 4095, true)]);
        driver.add(queue, &[(0x60_0000, 4096, false), (0x60_0000, 0, true)]);
        driver.notify(queue);
        assert_eq!(driver.used(queue).len(), 3);
        assert_eq!(balloon(&mut driver).reported_bytes(), 3 << 20);
        assert_eq!(driver.get(0x40_0000, 2 << 20), vec![0; 2 << 20]);
        assert_eq!(driver.get(0x60_0000, 1 << 20), vec![7; 1 << 20]);
        assert_eq!(driver.get(0x70_0000, 1 << 20), vec![0; 1 << 20]);
    }
}

#[test]
fn a_full_queue_takes_several_turns() {
    let mut driver = started();
    driver.put(BUFFERS, &numbers(&[16]));
    for _ in 0..CHAINS_PER_WAKE + 1 {
        driver.add(INFLATE, &[(BUFFERS, 4, false)]);
    }
    driver.notify(INFLATE);
    assert_eq!(driver.used(INFLATE).len(), CHAINS_PER_WAKE);
    driver.transport.on_ready(0);
    assert_eq!(driver.used(INFLATE).len(), 1);
}

proptest! {
    /// Discarding changes memory, so only the other promises are left: nothing but what was available is used, and
    /// nothing panics.
    #[test]
    fn hostile_queues_are_survived(queue in 0_usize..5, bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut driver = started();
        driver.scatter(queue, &bytes);
        driver.notify(queue);
        prop_assert!(driver.used(queue).len() <= CHAINS_PER_WAKE);
    }

    /// Page numbers of any value: what is not named stays.
    #[test]
    fn only_listed_pages_go(pages in prop::collection::vec(0_u32..2 * (MEMORY_BYTES >> 12) as u32, 0..40)) {
        let mut driver = started();
        let room = (BUFFERS as usize) + 0x1000..MEMORY_BYTES as usize;
        driver.put(room.start as u64, &vec![7; room.len()]);
        let pages: Vec<u32> = pages.into_iter().filter(|page| *page > (BUFFERS >> 12) as u32).collect();
        driver.put(BUFFERS, &numbers(&pages));
        driver.add(INFLATE, &[(BUFFERS, pages.len() as u32 * 4, false)]);
        driver.notify(INFLATE);
        let inside = |page: &u32| u64::from(*page) << 12 < MEMORY_BYTES;
        for page in (room.start >> 12) as u32..(MEMORY_BYTES >> 12) as u32 {
            let byte = driver.get(u64::from(page) << 12, 1)[0];
            // A run that goes beyond memory is refused as a whole.
            let run_end = (page..).find(|page| !pages.contains(page)).unwrap_or(page);
            let goes = pages.contains(&page) && inside(&(run_end - 1));
            prop_assert_eq!(byte == 0, goes, "page {}", page);
        }
    }
}
