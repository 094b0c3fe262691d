//! Many callers on several threads, in real time: what the paused clock can't show.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearth_domain::SlotId;
use hearth_protocol::WorkerManager as _;

use crate::{Cluster, function};

const CALLERS: usize = 64;
const CALLS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_slot_is_ever_in_two_hands() {
    let cluster = Arc::new(Cluster::start());
    cluster.placement.state().init = Duration::from_millis(2);
    let in_use = Arc::new(Mutex::new(HashSet::new()));
    let callers = (0..CALLERS).map(|caller| tokio::spawn(run(cluster.clone(), in_use.clone(), caller)));
    let served: usize = futures::future::join_all(callers).await.into_iter().map(|served| served.unwrap()).sum();
    assert!(served > 0);
    let fleet = cluster.manager.fleet().await.unwrap();
    assert!(fleet.slots.len() <= CALLERS, "{} slots for {CALLERS} callers", fleet.slots.len());
    assert!(fleet.slots.iter().all(|slot| !slot.busy), "a call that left kept its slot");
    assert_eq!(fleet.waiting, 0);
}

/// Calls one after the other; every third is given up soon, perhaps just when its slot comes. Tells how many were served.
async fn run(cluster: Arc<Cluster>, in_use: Arc<Mutex<HashSet<SlotId>>>, caller: usize) -> usize {
    let spec = function(["f", "g", "h"][caller % 3]);
    let mut served = 0;
    for call in 0..CALLS {
        let request = format!("c{caller}-r{call}");
        let patience = Duration::from_micros(if call % 3 == 0 { 500 + 50 * caller as u64 } else { 10_000_000 });
        let Ok(reserved) = tokio::time::timeout(patience, cluster.reserve(&spec, &request)).await else { continue };
        let reservation = reserved.unwrap();
        assert!(in_use.lock().unwrap().insert(reservation.slot), "{} is in two hands", reservation.slot);
        tokio::task::yield_now().await;
        in_use.lock().unwrap().remove(&reservation.slot);
        cluster.complete(&request, &reservation).await;
        served += 1;
    }
    served
}
