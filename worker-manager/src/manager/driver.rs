//! The driver and its errands to placement.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::{ClaimId, FencingToken, InvalidId, SlotId};
use hearth_protocol::Unreachable;
use hearth_protocol::placement::{ClaimRequest, Grant, ReleaseRequest, RenewRequest};
use tokio::time::{sleep, sleep_until, timeout, timeout_at};
use tracing::{debug, info, warn};

use crate::leases::Renewal;
use crate::router::Claim;

use super::shared::{Outgoing, Shared};

/// Runs the router's turns, each exactly when it is due, until the role stops; then one last.
pub(super) async fn drive(shared: Arc<Shared>, tasks: Tasks) -> Result<(), Infallible> {
    let stop = tasks.stop_token();
    loop {
        let stopping = stop.is_cancelled();
        let (sent, next) = shared.turn();
        send(&shared, &tasks, sent);
        if stopping {
            return Ok(());
        }
        let due = async {
            match next {
                Some(next) => sleep_until(shared.instant(next)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = shared.wake.notified() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Asks placement what an earlier life of this holder held, until it answers.
pub(super) async fn recover(shared: Arc<Shared>, tasks: Tasks) -> Result<(), Infallible> {
    let stop = tasks.stop_token();
    let mut pause = shared.config.recover_retry_min;
    loop {
        let sent_at = shared.now();
        match recovered(&shared).await {
            Ok(grants) => {
                info!(slots = grants.len(), "recovered the slots of an earlier life");
                shared.step(|router, outbox, now| router.on_recovered(now, sent_at, grants, outbox));
                return Ok(());
            }
            Err(reason) => {
                debug!(%reason, "placement could not be asked what this holder held");
                shared.step(|router, _, _| router.on_recovery_failed(&reason.to_string()));
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
        pause = (2 * pause).min(shared.config.recover_retry_max);
    }
}

async fn recovered(shared: &Shared) -> Result<Vec<Grant>, Unreachable> {
    let asked = shared.placement.recover(shared.config.holder.clone());
    timeout(shared.config.placement_timeout, asked).await.unwrap_or_else(|_| Err(no_answer(shared)))
}

fn send(shared: &Arc<Shared>, tasks: &Tasks, sent: Outgoing) {
    for claim in sent.claims {
        let work = run_claim(shared.clone(), tasks.clone(), claim);
        tasks.spawn("worker-manager-claim", OnFailure::Log, work);
    }
    for renewal in sent.renewals {
        tasks.spawn("worker-manager-renewal", OnFailure::Log, run_renewal(shared.clone(), renewal));
    }
    if !sent.releases.is_empty() {
        tasks.spawn("worker-manager-release", OnFailure::Log, run_release(shared.clone(), sent.releases));
    }
}

/// Feeds the outcomes of one claim to the router, each as soon as it is known.
async fn run_claim(shared: Arc<Shared>, tasks: Tasks, claim: Claim) -> Result<(), InvalidId> {
    let (number, until) = (claim.number, shared.instant(claim.give_up_at));
    let id = ClaimId::new(&format!("{}-{}", shared.life.simple(), number.0))?;
    let holder = shared.config.holder.clone();
    let request = ClaimRequest { id, holder, function: claim.function, count: claim.count };
    let outcomes = async {
        let mut stream = shared.placement.claim(request).await?;
        while let Some(outcome) = stream.next().await {
            shared.step(|router, outbox, now| router.on_claim_outcome(now, number, outcome, outbox));
        }
        Ok::<_, Unreachable>(())
    };
    let ended = tokio::select! {
        ended = timeout_at(until, outcomes) => ended,
        () = tasks.stopping() => return Ok(()),
    };
    let reason = match ended {
        Ok(Ok(())) => "placement ended the claim before all its outcomes".to_owned(),
        Ok(Err(unreachable)) => unreachable.to_string(),
        Err(_) => "placement did not answer the claim in time".to_owned(),
    };
    // After the last outcome the router knows the claim no more, and this says nothing.
    shared.step(|router, _, now| router.on_claim_cut(now, number, &reason));
    Ok(())
}

async fn run_renewal(shared: Arc<Shared>, renewal: Renewal) -> Result<(), Infallible> {
    let request = RenewRequest { holder: shared.config.holder.clone(), leases: renewal.leases.clone() };
    let asked = shared.placement.renew(request);
    match timeout(shared.config.placement_timeout, asked).await.unwrap_or_else(|_| Err(no_answer(&shared))) {
        Ok(answer) => shared.step(|router, outbox, now| router.on_renewed(now, &renewal, &answer, outbox)),
        // The router asks again by itself.
        Err(reason) => warn!(leases = renewal.leases.len(), %reason, "leases could not be renewed"),
    }
    Ok(())
}

async fn run_release(shared: Arc<Shared>, leases: Vec<(SlotId, FencingToken)>) -> Result<(), Infallible> {
    let slots = leases.len();
    let asked = shared.placement.release(ReleaseRequest { holder: shared.config.holder.clone(), leases });
    if let Err(reason) =
        timeout(shared.config.placement_timeout, asked).await.unwrap_or_else(|_| Err(no_answer(&shared)))
    {
        debug!(slots, %reason, "leases could not be given back; they run out by themselves");
    }
    Ok(())
}

fn no_answer(shared: &Shared) -> Unreachable {
    let waited: Duration = shared.config.placement_timeout;
    Unreachable { role: "placement".to_owned(), reason: format!("no answer within {waited:?}"), not_sent: false }
}
