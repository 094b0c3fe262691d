//! The device between a driver in plain Rust and a tap, for which a socket that keeps frames apart stands in.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;

use proptest::prelude::*;

use super::*;
use crate::devices::virtio::testing::{BUFFERS, Driver};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const RX_BUFFER_BYTES: u32 = (HEADER_BYTES + FRAME_MAX_BYTES) as u32;

fn machine(bandwidth: Option<RateLimit>, packets: Option<RateLimit>) -> (Driver, UnixDatagram) {
    let (tap, host) = UnixDatagram::pair().unwrap();
    tap.set_nonblocking(true).unwrap();
    host.set_nonblocking(true).unwrap();
    let mut driver = Driver::new(Box::new(Net::new(OwnedFd::from(tap), MAC, bandwidth, packets).unwrap()));
    driver.start(F_EVENT_INDEX);
    (driver, host)
}

fn frame(source: [u8; 6], payload: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &source, &[8, 0], payload].concat()
}

/// Sends a frame with any header before it, in buffers that end at `cuts`.
fn send(driver: &mut Driver, frame: &[u8], cuts: &[usize]) {
    let packet = [&[0xa5; HEADER_BYTES], frame].concat();
    driver.put(BUFFERS, &packet);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % packet.len()).chain([packet.len()]).collect();
    ends.sort_unstable();
    let mut start = 0;
    let mut buffers = Vec::new();
    for end in ends {
        buffers.push((BUFFERS + start as u64, (end - start) as u32, false));
        start = end;
    }
    driver.add(TX, &buffers);
    driver.notify(TX);
}

fn at_host(host: &UnixDatagram) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let length = host.recv(&mut bytes).ok()?;
    assert_eq!(bytes[..TAP_HEADER_BYTES], [0; TAP_HEADER_BYTES], "the guest's header went through");
    Some(bytes[TAP_HEADER_BYTES..length].to_vec())
}

fn to_guest(host: &UnixDatagram, frame: &[u8]) {
    host.send(&[&[0xa5; TAP_HEADER_BYTES], frame].concat()).unwrap();
}

fn reads_tap(driver: &Driver) -> bool {
    driver.transport.sources()[TAP].readable
}

fn dropped(driver: &mut Driver) -> u64 {
    driver.transport.device::<Net>().unwrap().dropped_frames()
}

#[test]
fn frames_of_the_guest_reach_the_tap() {
    let (mut driver, host) = machine(None, None);
    let ours = frame(MAC, b"hello");
    send(&mut driver, &ours, &[HEADER_BYTES]);
    assert_eq!(at_host(&host), Some(ours));
    assert_eq!(driver.used(TX).len(), 1);
}

#[test]
fn frames_for_others_names_and_sizes_are_dropped() {
    let (mut driver, host) = machine(None, None);
    let too_long = frame(MAC, &vec![0; FRAME_MAX_BYTES]);
    for bad in [&frame([2, 0, 0, 0, 0, 8], b"spoofed")[..], &frame(MAC, b"")[..13], &too_long] {
        send(&mut driver, bad, &[]);
    }
    driver.add(TX, &[(BUFFERS, 4, false)]);
    driver.notify(TX);
    assert_eq!(at_host(&host), None);
    assert_eq!((driver.used(TX).len(), dropped(&mut driver)), (4, 4));
}

#[test]
fn frames_for_the_guest_wait_in_the_tap_until_it_has_buffers() {
    let (mut driver, host) = machine(None, None);
    assert!(!reads_tap(&driver));
    let (first, second) = (frame([9; 6], b"first"), frame([9; 6], &[4; 1000]));
    to_guest(&host, &first);
    to_guest(&host, &second);
    let parts = [(BUFFERS, 20, true), (BUFFERS + 0x1000, RX_BUFFER_BYTES - 20, true)];
    driver.add(RX, &parts);
    driver.notify(RX);
    let length = (HEADER_BYTES + first.len()) as u32;
    assert_eq!(driver.used(RX), [(0, length)]);
    assert!(driver.was_interrupted());
    assert_eq!(driver.get(BUFFERS, 20), [&HEADER, &first[..8]].concat());
    assert_eq!(driver.get(BUFFERS + 0x1000, first.len() - 8), first[8..]);
    assert!(!reads_tap(&driver), "it has no buffer");
    driver.add(RX, &parts);
    driver.notify(RX);
    assert_eq!(driver.used(RX).len(), 1);
    driver.add(RX, &parts);
    driver.notify(RX);
    assert!(reads_tap(&driver));
    to_guest(&host, &first);
    driver.transport.on_ready(TAP);
    assert_eq!(driver.used(RX).len(), 1);
}

#[test]
fn a_frame_that_does_not_fit_its_buffer_is_dropped() {
    let (mut driver, host) = machine(None, None);
    for length in [4, HEADER_BYTES as u32, 40] {
        to_guest(&host, &frame([9; 6], &[1; 100]));
        driver.add(RX, &[(BUFFERS, length, true)]);
        driver.notify(RX);
        assert_eq!(driver.used(RX)[0].1, 0, "{length}");
    }
    assert_eq!(dropped(&mut driver), 3);
}

#[test]
fn a_tap_that_is_gone_is_not_waited_for() {
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    // One that is at its end, and one that can't be read.
    for reads in [true, false] {
        let tap = OpenOptions::new().read(reads).write(true).custom_flags(nonblocking).open("/dev/null").unwrap();
        let mut driver = Driver::new(Box::new(Net::new(tap.into(), MAC, None, None).unwrap()));
        driver.start(0);
        driver.add(RX, &[(BUFFERS, RX_BUFFER_BYTES, true)]);
        driver.notify(RX);
        assert!(!reads_tap(&driver));
        assert_eq!(driver.used(RX), []);
    }
}

#[test]
fn beyond_the_limits_frames_wait_in_their_queues() {
    let slow = Some(RateLimit { burst: 30, per_second: 1 });
    for (bandwidth, packets) in [(slow, None), (None, Some(RateLimit { burst: 1, per_second: 1 }))] {
        let (mut driver, host) = machine(bandwidth, packets);
        let ours = frame(MAC, &[3; 30]);
        send(&mut driver, &ours, &[]);
        send(&mut driver, &ours, &[]);
        assert_eq!((at_host(&host).is_some(), at_host(&host)), (true, None));
        assert!(driver.transport.sources()[2].readable, "the alarm will tell");
        for n in 0..3 {
            to_guest(&host, &ours);
            driver.add(RX, &[(BUFFERS + n * 0x1000, RX_BUFFER_BYTES, true)]);
        }
        driver.notify(RX);
        assert_eq!(driver.used(RX).len(), 1);
        assert!(!reads_tap(&driver));
        assert!(driver.transport.sources()[RX_ALARM].readable);
    }
}

#[test]
fn a_tap_that_may_block_is_refused() {
    let (tap, _host) = UnixDatagram::pair().unwrap();
    assert!(Net::new(tap.into(), MAC, None, None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn frames_arrive_whole_and_in_order(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..1500), prop::collection::vec(any::<usize>(), 0..4)), 1..30)
    ) {
        let (mut driver, host) = machine(None, None);
        for (payload, cuts) in frames {
            let sent = frame(MAC, &payload);
            send(&mut driver, &sent, &cuts);
            prop_assert_eq!(at_host(&host), Some(sent.clone()));
            prop_assert_eq!(driver.used(TX).len(), 1);
            to_guest(&host, &sent);
            driver.add(RX, &[(BUFFERS, RX_BUFFER_BYTES, true)]);
            driver.notify(RX);
            prop_assert_eq!(driver.used(RX).len(), 1);
            prop_assert_eq!(driver.get(BUFFERS + HEADER_BYTES as u64, sent.len()), sent);
        }
    }

    #[test]
    fn any_rings_are_survived(queue in 0..2_usize, bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
        let (mut driver, host) = machine(None, None);
        for _ in 0..8 {
            to_guest(&host, &frame([9; 6], &[1; 200]));
        }
        driver.run_hostile(queue, &bytes);
    }
}
