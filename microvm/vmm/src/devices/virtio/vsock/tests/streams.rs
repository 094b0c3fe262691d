//! Under any interleaving, both streams arrive whole and in order, within credit.

use std::net::Shutdown;

use proptest::prelude::*;

use super::guest::Guest;
use crate::devices::virtio::transport::F_EVENT_INDEX;

#[derive(Debug, Clone)]
enum Step {
    GuestSends(usize),
    GuestConsumes(usize),
    GuestSupplies(usize),
    HostWrites(usize),
    HostReads(usize),
    Poll,
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..70_000_usize).prop_map(Step::GuestSends),
        (1..70_000_usize).prop_map(Step::GuestConsumes),
        (1..6_usize).prop_map(Step::GuestSupplies),
        (1..70_000_usize).prop_map(Step::HostWrites),
        (1..70_000_usize).prop_map(Step::HostReads),
        Just(Step::Poll),
        Just(Step::Snapshot),
    ]
}

/// A stream of bytes that shows where each one belongs.
fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

#[derive(Default)]
struct Totals {
    guest_sent: usize,
    host_sent: usize,
    host_received: Vec<u8>,
}

fn take(guest: &mut Guest, totals: &mut Totals, step: &Step) {
    match step {
        Step::GuestSends(count) => totals.guest_sent += guest.send_data(&pattern(totals.guest_sent, *count)),
        Step::GuestConsumes(count) => guest.consume(*count),
        Step::GuestSupplies(count) => guest.supply(*count),
        Step::HostWrites(count) => totals.host_sent += guest.host_write(&pattern(totals.host_sent, *count)),
        Step::HostReads(count) => totals.host_received.extend(guest.host_read(*count).unwrap()),
        Step::Poll => guest.poll(),
        Step::Snapshot => guest.snapshot_and_restore(),
    }
    guest.collect();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn both_streams_arrive_whole(event_index: bool, buf_alloc in 1..80_000_u32, steps in prop::collection::vec(step(), 1..80)) {
        let mut guest = Guest::connected(if event_index { F_EVENT_INDEX } else { 0 });
        guest.buf_alloc = buf_alloc;
        guest.consume(0);
        let mut totals = Totals::default();
        for step in &steps {
            take(&mut guest, &mut totals, step);
        }
        // Whatever is under way comes to rest when everybody does their part.
        guest.host.shutdown(Shutdown::Write).unwrap();
        let mut rounds = 0;
        // A guest that gives room for one byte takes a round for each.
        let enough = 10_000 + totals.host_sent + totals.guest_sent;
        while guest.received.len() < totals.host_sent || totals.host_received.len() < totals.guest_sent {
            for step in [Step::Poll, Step::GuestSupplies(6), Step::GuestConsumes(1 << 20), Step::HostReads(1 << 20)] {
                take(&mut guest, &mut totals, &step);
            }
            rounds += 1;
            prop_assert!(rounds < enough, "it is stuck");
        }
        prop_assert_eq!(&guest.received, &pattern(0, totals.host_sent));
        prop_assert_eq!(&totals.host_received, &pattern(0, totals.guest_sent));
    }
}
