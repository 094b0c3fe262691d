//! The drive against a driver of its own and a hostile one.

use std::os::unix::fs::FileExt as _;

use proptest::prelude::*;

use super::*;
use crate::devices::virtio::testing::{BUFFERS, Descriptor, Driver, INDIRECT, MEMORY_BYTES, NEXT, WRITE};

const STATUS: u64 = BUFFERS + 0x100;
const DATA: u64 = 0x1_0000;

/// A file where every sector holds its number, from 1, modulo 256; `bytes` long.
fn image(bytes: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    for sector in 0..bytes.div_ceil(SECTOR_BYTES) {
        file.write_all_at(&[(sector as u8).wrapping_add(1); SECTOR_BYTES as usize], sector * SECTOR_BYTES).unwrap();
    }
    file.set_len(bytes).unwrap();
    file
}

fn drive(image: Option<File>) -> Driver {
    let mut driver =
        Driver::new(Box::new(Block::new(*b"root\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", image, None, None).unwrap()));
    driver.start(u64::MAX);
    driver
}

fn header(kind: u32, sector: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    header
}

/// One request with `length` bytes of data: (bytes used, status).
fn request(driver: &mut Driver, kind: u32, sector: u64, length: u32) -> (u32, u8) {
    driver.put(BUFFERS, &header(kind, sector));
    driver.put(STATUS, &[0xee]);
    driver.add(0, &[(BUFFERS, 16, false), (DATA, length, true), (STATUS, 1, true)]);
    driver.notify(0);
    let used = driver.used(0);
    assert_eq!(used.len(), 1);
    (used[0].1, driver.get(STATUS, 1)[0])
}

#[test]
fn reads_sectors_in_place() {
    let mut driver = drive(Some(image(8 * SECTOR_BYTES)));
    assert_eq!(driver.configuration(0), 8_u64.to_le_bytes());
    assert_eq!(driver.configuration::<4>(12), SEGMENTS_MAX.to_le_bytes());
    assert_eq!(request(&mut driver, 0, 2, 1024), (1025, 0));
    assert_eq!(driver.get(DATA, 1024), [[3; 512], [4; 512]].concat());
    assert!(driver.was_interrupted());
    assert_eq!(driver.transport.device::<Block>().unwrap().bytes_read(), 1024);
}

#[test]
fn a_request_may_be_cut_anywhere() {
    let mut driver = drive(Some(image(8 * SECTOR_BYTES)));
    driver.put(BUFFERS, &header(0, 1));
    // Header in two, data in two with the status in the same buffer as its end.
    driver.add(0, &[(BUFFERS, 5, false), (BUFFERS + 5, 11, false), (DATA, 100, true), (DATA + 0x1000, 413, true)]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 513)]);
    assert_eq!(driver.get(DATA, 100), [2; 100]);
    assert_eq!(driver.get(DATA + 0x1000, 413), [vec![2; 412], vec![0]].concat());
}

#[test]
fn what_is_not_whole_sectors_of_the_image_is_an_error() {
    let mut driver = drive(Some(image(8 * SECTOR_BYTES)));
    for (sector, length) in
        [(8, 512), (7, 1024), (u64::MAX, 512), (u64::MAX / 512, 512), (u64::MAX / 512 - 1, 1024), (0, 511)]
    {
        assert_eq!(request(&mut driver, 0, sector, length).1, 1, "{sector} {length}");
    }
    assert_eq!(request(&mut driver, 0, 8, 0), (1, 0));
    let mut empty = drive(None);
    assert_eq!(request(&mut empty, 0, 0, 512).1, 1);
}

#[test]
fn a_last_sector_that_the_file_only_begins_is_padded() {
    let mut driver = drive(Some(image(SECTOR_BYTES + 10)));
    driver.put(DATA, &[9; 1024]);
    assert_eq!(driver.configuration(0), 2_u64.to_le_bytes());
    assert_eq!(request(&mut driver, 0, 0, 1024), (1025, 0));
    assert_eq!(driver.get(DATA, 1024), [vec![1; 512], vec![2; 10], vec![0; 502]].concat());
}

#[test]
fn a_file_that_shrank_is_an_error() {
    let file = image(8 * SECTOR_BYTES);
    let mut driver = drive(Some(file.try_clone().unwrap()));
    file.set_len(SECTOR_BYTES).unwrap();
    assert_eq!(request(&mut driver, 0, 0, 1024).1, 1);
}

#[test]
fn writes_fail_other_requests_are_unknown_and_the_name_is_told() {
    let mut driver = drive(Some(image(8 * SECTOR_BYTES)));
    for (kind, status) in [(1, 1), (4, 2), (11, 2), (13, 2), (99, 2)] {
        assert_eq!(request(&mut driver, kind, 0, 512).1, status, "{kind}");
    }
    assert_eq!(request(&mut driver, 8, 0, 20), (21, 0));
    assert_eq!(driver.get(DATA, 6), *b"root\0\0");
}

#[test]
fn without_header_or_status_nothing_is_written() {
    let mut driver = drive(Some(image(8 * SECTOR_BYTES)));
    driver.add(0, &[(BUFFERS, 15, false), (STATUS, 1, true)]);
    driver.add(0, &[(BUFFERS, 16, false)]);
    driver.add(0, &[(BUFFERS, 16, true)]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 0), (2, 0), (3, 0)]);
}

#[test]
fn an_image_comes_later_once_and_the_driver_is_told() {
    let mut driver = drive(None);
    driver.was_interrupted();
    let generation = driver.read(0xfc);
    driver.transport.device::<Block>().unwrap().attach(image(1024)).unwrap();
    assert_eq!(driver.read(0x60), 2);
    assert_ne!(driver.read(0xfc), generation);
    assert_eq!(driver.configuration(0), 2_u64.to_le_bytes());
    assert_eq!(request(&mut driver, 0, 1, 512), (513, 0));
    let again = driver.transport.device::<Block>().unwrap().attach(image(512));
    assert!(matches!(again, Err(AttachError::NotEmpty)));
}

#[test]
fn an_image_that_comes_before_the_driver_is_ready_is_told_then() {
    let mut driver = Driver::new(Box::new(Block::new([0; 20], None, None, None).unwrap()));
    driver.negotiate(1 << 32);
    driver.transport.device::<Block>().unwrap().attach(image(1024)).unwrap();
    driver.set_up_queues();
    driver.write(0x70, 15);
    driver.transport.on_changed();
    assert_eq!(driver.read(0x60), 2);
}

#[test]
fn a_restore_with_an_image_tells_a_driver_that_knew_none() {
    let mut driver = drive(None);
    let state = driver.transport.save();
    for (image, status) in [(None, 0), (Some(image(512)), 2)] {
        let device = Block::new([0; 20], image, None, None).unwrap();
        let mut clone = Driver::with_memory(Box::new(device), driver.memory.clone());
        clone.transport.restore(&state).unwrap();
        assert_eq!(clone.read(0x60), status);
    }
    assert!(Block::new([0; 20], None, None, None).unwrap().restore(&[1; 7]).is_err());
}

#[test]
fn limits_hold_requests_back_until_the_alarm() {
    let limit = Some(RateLimit { burst: 1024, per_second: 1 << 16 });
    let mut driver = Driver::new(Box::new(Block::new([0; 20], Some(image(4096)), limit, None).unwrap()));
    driver.start(0);
    driver.put(BUFFERS, &header(0, 0));
    for _ in 0..4 {
        driver.add(0, &[(BUFFERS, 16, false), (DATA, 4096, true), (STATUS, 1, true)]);
    }
    driver.notify(0);
    let mut done = driver.used(0).len();
    assert!((1..4).contains(&done), "{done} at once");
    while done < 4 {
        let fd = driver.transport.sources()[0].fd.try_clone_to_owned().unwrap();
        let mut ready = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let limit = rustix::time::Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut ready, Some(&limit)).unwrap(), 1, "the alarm never went off");
        driver.transport.on_ready(0);
        done += driver.used(0).len();
    }
}

#[test]
fn a_wake_reads_a_bounded_amount() {
    let mut driver = drive(Some(image(4 << 20)));
    driver.put(BUFFERS, &header(0, 0));
    // As much as one request may ask for, in a table of its own.
    let last = SEGMENTS_MAX as u16 + 1;
    for index in 0..=last {
        let descriptor = match index {
            0 => Descriptor { address: BUFFERS, length: 16, flags: NEXT, next: 1 },
            _ if index == last => Descriptor { address: STATUS, length: 1, flags: WRITE, next: 0 },
            _ => Descriptor { address: 0x2_0000, length: SEGMENT_BYTES_MAX, flags: NEXT | WRITE, next: index + 1 },
        };
        driver.put(DATA + 16 * u64::from(index), &descriptor.to_bytes());
    }
    let table = Descriptor { address: DATA, length: 16 * (u32::from(last) + 1), flags: INDIRECT, next: 0 };
    driver.set_descriptor(0, 0, table);
    (0..3).for_each(|_| driver.make_available(0, 0));
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, REQUEST_BYTES_MAX as u32 + 1); 2]);
    driver.transport.on_ready(0);
    assert_eq!(driver.used(0).len(), 1);
}

proptest! {
    #[test]
    fn hostile_queues_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        drive(Some(image(64 * SECTOR_BYTES))).run_hostile(0, &bytes);
    }

    /// Any header over any split of one chain: within bounds the data is right, and memory around it stays.
    #[test]
    fn any_request_is_answered(kind in 0_u32..10, sector in 0_u64..20, cuts in prop::collection::vec(0_u32..700, 1..8)) {
        let mut driver = drive(Some(image(16 * SECTOR_BYTES)));
        driver.put(BUFFERS, &header(kind, sector));
        driver.put(DATA, &vec![0xee; (MEMORY_BYTES - DATA) as usize]);
        let mut buffers = vec![(BUFFERS, 16, false)];
        let pieces: Vec<_> = (0_u64..).zip(&cuts).map(|(n, length)| (DATA + 0x1000 * n, *length, true)).collect();
        buffers.extend(&pieces);
        driver.add(0, &buffers);
        driver.notify(0);
        let used = driver.used(0);
        prop_assert_eq!(used.len(), 1);
        let total: u32 = cuts.iter().sum();
        prop_assert!(used[0].1 <= total);
        let mut written: Vec<u8> = pieces.iter().flat_map(|(at, length, _)| driver.get(*at, *length as usize)).collect();
        for (at, length, _) in &pieces {
            let behind = driver.get(at + u64::from(*length), 16);
            prop_assert_eq!(behind, vec![0xee; 16]);
        }
        let Some(status) = written.pop() else { return Ok(()) };
        let length = written.len() as u64;
        let fits = length.is_multiple_of(SECTOR_BYTES) && sector + length / SECTOR_BYTES <= 16;
        if kind == 0 && fits {
            let expected = (sector..).take(written.len() / 512).flat_map(|sector| [sector as u8 + 1; 512]);
            prop_assert_eq!(status, 0);
            prop_assert!(written.iter().copied().eq(expected));
        } else if kind != 8 {
            prop_assert_ne!(status, 0);
            prop_assert!(written.iter().all(|byte| *byte == 0xee));
        }
    }
}
