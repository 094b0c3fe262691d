//! Guests that break the rules.

use proptest::prelude::*;

use super::guest::{Guest, HEADER_BYTES, PORT, Packet, stream_pair};
use super::ops;
use crate::devices::virtio::testing::{BUFFERS, Driver};
use crate::devices::virtio::transport::F_EVENT_INDEX;
use crate::devices::virtio::vsock::packet::Op;
use crate::devices::virtio::vsock::{RESETS_MAX, ROOM_BYTES, RX, TX, Vsock};
use crate::layout::{CHANNEL_PORT, HOST_CID};

#[test]
fn whatever_is_not_for_the_channel_is_reset_and_leaves_the_connection_alone() {
    let request = Packet::new(Op::Request);
    let strangers = [
        Packet { ports: (PORT + 1, CHANNEL_PORT + 1), ..request.clone() },
        Packet { ports: (PORT + 1, CHANNEL_PORT), ..request.clone() },
        Packet { ports: (PORT + 1, CHANNEL_PORT), kind: 2, ..request.clone() },
        Packet { cids: (3, 1), ..request.clone() },
        Packet { cids: (4, HOST_CID), ..request.clone() },
        Packet { ports: (PORT + 1, CHANNEL_PORT), op: 99, ..request.clone() },
        Packet { ports: (PORT + 1, CHANNEL_PORT), ..Packet::new(Op::CreditRequest) },
    ];
    for stranger in strangers {
        let mut guest = Guest::connected(0);
        guest.send(&stranger);
        let answers = guest.collect();
        assert_eq!(ops(&answers), [Op::Reset as u16], "{stranger:?}");
        assert_eq!(answers[0].ports, (stranger.ports.1, stranger.ports.0));
        assert_eq!(answers[0].kind, stranger.kind);
        assert_eq!(guest.send_data(b"on"), 2);
        assert_eq!(guest.host_read(9).unwrap(), b"on");
    }
}

#[test]
fn a_reset_is_never_answered() {
    let mut guest = Guest::connected(0);
    guest.send(&Packet { ports: (PORT + 1, CHANNEL_PORT), ..Packet::new(Op::Reset) });
    assert_eq!(guest.collect(), []);
    guest.send(&Packet::new(Op::Reset));
    assert_eq!(guest.collect(), []);
    assert_eq!(guest.host_read(1), None);
}

#[test]
fn a_connection_that_breaks_the_rules_is_reset() {
    let shut = Packet { flags: 2, ..Packet::new(Op::Shutdown) };
    let data = Packet { data: vec![1], ..Packet::new(Op::Data) };
    let sequences: [&[Packet]; 4] = [
        &[Packet::new(Op::Request)],
        &[Packet::new(Op::Response)],
        &[Packet { op: 0, ..Packet::new(Op::Data) }],
        &[shut, data],
    ];
    for sequence in sequences {
        let mut guest = Guest::connected(0);
        sequence.iter().for_each(|packet| guest.send(packet));
        let answers = guest.collect();
        assert_eq!((ops(&answers), answers[0].ports.1), (vec![Op::Reset as u16], PORT), "{sequence:?}");
        while let Some(rest) = guest.host_read(9) {
            assert!(!rest.is_empty(), "the host's stream is not at its end after {sequence:?}");
        }
    }
}

#[test]
fn data_beyond_credit_resets_the_connection_and_what_came_before_arrives() {
    let mut guest = Guest::connected(0);
    let data = Packet { data: vec![5; 16 * 1024], ..Packet::new(Op::Data) };
    let mut sent = 0;
    let resets = loop {
        guest.send(&data);
        guest.supply(6);
        let packets = guest.collect();
        if packets.iter().any(|packet| packet.op == Op::Reset as u16) {
            break packets.len();
        }
        sent += data.data.len();
    };
    assert_eq!(resets, 1);
    let mut arrived = 0;
    while let Some(bytes) = guest.host_read(1 << 20) {
        arrived += bytes.len();
        guest.poll();
    }
    assert_eq!(arrived, sent);
}

#[test]
fn a_length_that_is_not_there_moves_nothing() {
    for length in [2, ROOM_BYTES + 1, u32::MAX] {
        let mut guest = Guest::connected(0);
        guest.send_as(&Packet { data: vec![9], ..Packet::new(Op::Data) }, length);
        assert_eq!(guest.host_read(9), Some(Vec::new()));
        assert_eq!(guest.collect(), [], "what is no packet has nobody to answer to");
    }
}

#[test]
fn a_guest_that_takes_no_resets_is_not_listened_to_until_it_does() {
    let mut guest = Guest::new(0);
    let stranger = Packet { ports: (PORT, 1), ..Packet::new(Op::Request) };
    (0..RESETS_MAX).for_each(|_| guest.send(&stranger));
    guest.driver.add(TX, &[(BUFFERS, HEADER_BYTES as u32, false)]);
    guest.driver.notify(TX);
    assert_eq!(guest.driver.used(TX), []);
    let mut answered = 0;
    while answered < RESETS_MAX {
        guest.supply(6);
        answered += guest.collect().len();
    }
    guest.poll();
    assert_eq!(guest.driver.used(TX).len(), 1);
    guest.supply(6);
    assert_eq!(answered + guest.collect().len(), RESETS_MAX + 1);
}

#[test]
fn rx_buffers_without_room_are_given_back_empty() {
    let mut guest = Guest::new(0);
    guest.driver.add(RX, &[(BUFFERS, HEADER_BYTES as u32, true)]);
    guest.driver.add(RX, &[(BUFFERS, 4096, false)]);
    guest.driver.add(RX, &[(u64::MAX - 8, 4096, true)]);
    guest.send(&Packet::new(Op::Request));
    assert!(guest.driver.used(RX).iter().all(|(_, written)| *written == 0));
    guest.supply(1);
    assert_eq!(guest.driver.used(RX).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_rings_are_survived(queue in 0..3_usize, bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
        let (stream, _host) = stream_pair();
        let mut driver = Driver::new(Box::new(Vsock::new(stream).unwrap()));
        driver.start(F_EVENT_INDEX);
        driver.run_hostile(queue, &bytes);
    }

    #[test]
    fn any_packets_are_survived(
        packets in prop::collection::vec((0..9_u16, 0..4_u32, any::<u32>(), any::<u32>(), 0..2000_usize), 1..40)
    ) {
        let mut guest = Guest::connected(0);
        for (op, flags, buf_alloc, fwd_cnt, length) in packets {
            let packet = Packet { op, flags, buf_alloc, fwd_cnt, data: vec![1; length], ..Packet::new(Op::Data) };
            guest.send(&packet);
            guest.discard();
            guest.snapshot_and_restore();
        }
    }
}
