//! The device driven by a guest in plain Rust ([`guest`]), valid and hostile.

mod guest;
mod hostile;
mod streams;

use std::net::Shutdown;

use self::guest::{Guest, PORT, Packet, RX_BYTES, TX_BYTES};
use super::packet::{Op, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use super::{ROOM_BYTES, Vsock};
use crate::devices::virtio::VirtioDevice;
use crate::devices::virtio::transport::F_EVENT_INDEX;

fn ops(packets: &[Packet]) -> Vec<u16> {
    packets.iter().map(|packet| packet.op).collect()
}

#[test]
fn the_configuration_is_the_guest_address_and_nothing_after_it() {
    let device = Vsock::new(guest::stream_pair().0).unwrap();
    let mut data = [9; 12];
    device.read_config(0, &mut data);
    assert_eq!(data, [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    device.read_config(u64::MAX - 1, &mut data);
    assert_eq!(data, [0; 12]);
}

#[test]
fn bytes_go_both_ways_without_being_held() {
    let mut guest = Guest::connected(F_EVENT_INDEX);
    assert_eq!(guest.send_data(b"from the guest"), 14);
    assert_eq!(guest.host_read(100).unwrap(), b"from the guest");
    guest.host_write(b"from the host");
    assert_eq!(guest.interest(), (true, false));
    guest.poll();
    assert_eq!(ops(&guest.collect()), [Op::Data as u16]);
    assert_eq!(guest.received, b"from the host");
    assert!(guest.driver.was_interrupted());
}

#[test]
fn what_the_host_does_not_take_is_held_up_to_the_room_there_is() {
    let mut guest = Guest::connected(0);
    let data = vec![7; TX_BYTES];
    let mut total = 0;
    loop {
        guest.supply(6);
        match guest.send_data(&data) {
            0 => break,
            count => total += count,
        }
        guest.collect();
    }
    assert_eq!(guest.interest(), (true, true), "it waits until the host takes some");
    let mut seen = 0;
    while seen < total {
        seen += guest.host_read(1 << 20).unwrap().len();
        guest.poll();
    }
    assert_eq!(guest.interest(), (true, false));
    guest.supply(6);
    let updates = guest.collect();
    assert_eq!(updates.last().unwrap().fwd_cnt, total as u32, "the guest hears that there is room again");
    assert_eq!(updates.last().unwrap().buf_alloc, ROOM_BYTES);
}

#[test]
fn the_stream_is_not_read_without_buffers_or_credit() {
    let mut guest = Guest::connected(F_EVENT_INDEX);
    guest.collect();
    // Five buffers are left after the response.
    guest.host_write(&vec![1; 6 * RX_BYTES as usize]);
    guest.poll();
    assert_eq!(guest.received.len(), 0);
    assert_eq!(guest.collect().len(), 5);
    assert_eq!(guest.interest(), (false, false), "no buffer");
    guest.buf_alloc = guest.received.len() as u32;
    guest.consume(0);
    guest.supply(6);
    assert_eq!(ops(&guest.collect()), [Op::CreditRequest as u16], "asked once");
    assert_eq!(guest.interest(), (false, false), "no credit");
    guest.consume(100);
    assert_eq!(guest.collect()[0].data.len(), 100);
    assert_eq!(guest.interest(), (false, false));
}

#[test]
fn an_end_of_the_host_reaches_the_guest_after_the_last_byte() {
    let mut guest = Guest::connected(0);
    guest.host_write(b"last");
    guest.host.shutdown(Shutdown::Write).unwrap();
    guest.poll();
    guest.poll();
    let packets = guest.collect();
    assert_eq!(ops(&packets), [Op::Data as u16, Op::Shutdown as u16]);
    assert_eq!(packets[1].flags, SHUTDOWN_SEND);
    assert_eq!(guest.interest(), (false, false), "an end is not waited for twice");
    assert_eq!(guest.send_data(b"still"), 5);
    assert_eq!(guest.host_read(100).unwrap(), b"still");
}

#[test]
fn a_host_that_is_gone_takes_nothing_and_the_guest_hears_of_it() {
    let mut guest = Guest::connected(0);
    guest.host = guest::stream_pair().0;
    guest.send_data(b"to nobody");
    guest.poll();
    let flags =
        guest.collect().iter().filter(|packet| packet.op == Op::Shutdown as u16).fold(0, |all, p| all | p.flags);
    assert_eq!(flags, SHUTDOWN_RECEIVE | SHUTDOWN_SEND);
    assert_eq!(guest.send_data(b"again"), 5, "dropped, and not held");
    assert_eq!(guest.interest(), (false, false));
}

#[test]
fn a_guest_that_closes_one_way_goes_on_the_other() {
    let mut guest = Guest::connected(0);
    guest.send_data(b"end");
    guest.send(&Packet { flags: SHUTDOWN_SEND, ..guest.of_connection(Op::Shutdown) });
    assert_eq!(guest.host_read(100).unwrap(), b"end");
    assert_eq!(guest.host_read(100), None);
    guest.host_write(b"answer");
    guest.poll();
    guest.collect();
    assert_eq!(guest.received, b"answer");
}

#[test]
fn a_guest_that_closes_is_answered_with_a_reset_and_the_host_gets_all_it_sent() {
    let mut guest = Guest::connected(0);
    guest.send_data(b"goodbye");
    guest.send(&Packet { flags: SHUTDOWN_SEND | SHUTDOWN_RECEIVE, ..guest.of_connection(Op::Shutdown) });
    assert_eq!(ops(&guest.collect()), [Op::Reset as u16]);
    assert_eq!(guest.host_read(100).unwrap(), b"goodbye");
    assert_eq!(guest.host_read(100), None);
    assert_eq!(guest.interest(), (false, false));
    guest.send(&Packet::new(Op::Request));
    let answers = guest.collect();
    assert_eq!((ops(&answers), answers[0].ports.1), (vec![Op::Reset as u16], PORT), "there is no second connection");
}

#[test]
fn a_reset_of_the_driver_ends_the_connection_but_not_a_device_that_had_none() {
    let mut guest = Guest::new(0);
    guest.driver.start(0);
    assert_eq!(guest.host_read(1), Some(Vec::new()), "the stream is open");
    let mut guest = Guest::connected(0);
    guest.driver.write(0x70, 0);
    guest.poll();
    assert_eq!(guest.host_read(1), None);
}

#[test]
fn a_request_for_credit_is_answered() {
    let mut guest = Guest::connected(0);
    guest.send(&guest.of_connection(Op::CreditRequest));
    let answers = guest.collect();
    assert_eq!((ops(&answers), answers[0].buf_alloc), (vec![Op::CreditUpdate as u16], ROOM_BYTES));
}

#[test]
fn what_is_due_at_a_snapshot_is_sent_after_the_restore() {
    let mut guest = Guest::new(F_EVENT_INDEX);
    guest.send(&Packet::new(Op::Request));
    assert_eq!(guest.collect(), [], "there is no buffer for the answer");
    guest.snapshot_and_restore();
    guest.supply(1);
    assert_eq!(ops(&guest.collect()), [Op::Response as u16]);
}

#[test]
fn a_damaged_state_is_refused() {
    let guest_state = |guest: &mut Guest| guest.driver.transport.save().device;
    let good = guest_state(&mut Guest::connected(0));
    let restored = |bytes: &[u8]| Vsock::new(guest::stream_pair().0).unwrap().restore(bytes);
    restored(&good).unwrap();
    for length in 0..good.len() {
        assert!(restored(&good[..length]).is_err(), "{length} bytes of it");
    }
    // The backlog's length is the byte before that of the list of resets, both zero here.
    let mut longer = good.clone();
    let at = longer.len() - 2;
    longer.splice(at..=at, [3, 1, 2, 3]);
    assert!(restored(&longer).is_err(), "a backlog that the counters don't know");
}
