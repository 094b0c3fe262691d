//! Which runtimes the fleet offers.
//!
//! A runtime that no worker offers is refused when it is asked for, naming those that are offered. If nobody can say,
//! because the worker manager can't be reached or no worker has reported yet, CreateFunction accepts the function and
//! leaves it Pending: it becomes Active or Failed as soon as somebody can (see [`crate::activation`]). A platform that
//! is being restarted loses no deployment that way, and nothing is promised that may not hold.

use std::collections::BTreeSet;
use std::time::Duration;

use hearth_domain::Runtime;
use hearth_protocol::WorkerManager;
use hearth_protocol::placement::WorkerCondition;

/// Longest wait for the fleet's answer within a request.
const FLEET_WAIT: Duration = Duration::from_secs(2);

/// Whether a runtime is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offer {
    /// By some worker.
    Offered,
    /// By none; the ones that are, by name.
    NotOffered(Vec<String>),
    /// Nobody can say.
    Unknown,
}

/// Asks the fleet.
pub(crate) async fn offer(manager: &dyn WorkerManager, runtime: Runtime) -> Offer {
    let Ok(Ok(fleet)) = tokio::time::timeout(FLEET_WAIT, manager.fleet()).await else { return Offer::Unknown };
    let alive = fleet.workers.iter().filter(|worker| worker.condition != WorkerCondition::Lost);
    let offered: BTreeSet<Runtime> = alive.flat_map(|worker| worker.report.runtimes.iter().copied()).collect();
    if offered.contains(&runtime) {
        Offer::Offered
    } else if offered.is_empty() {
        Offer::Unknown
    } else {
        Offer::NotOffered(offered.iter().map(ToString::to_string).collect())
    }
}

/// What the owner of a function is told.
pub(crate) fn not_offered(runtime: Runtime, offered: &[String]) -> String {
    let offered = offered.join(", ");
    format!(
        "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{offered}] or \
         be a valid ARN. These are the runtimes that the workers of this platform offer."
    )
}
