//! Every timing constant, and the inequalities between them, asserted when this compiles.

use std::time::Duration;

use crate::lease::LeaseTerms;

/// Lease terms that placement grants unless configured otherwise.
pub const LEASE_TERMS: LeaseTerms =
    LeaseTerms::new(Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(20));
/// How often a worker reports its load and slots to placement.
pub const WORKER_REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// A worker silent for this long gets no new slots.
pub const WORKER_AVOIDED_AFTER: Duration = Duration::from_secs(2);
/// A worker silent for this long is declared lost: its slots are gone, their leases are no longer renewed.
pub const WORKER_LOST_AFTER: Duration = Duration::from_secs(10);
/// Longest init of an execution environment before it is tried again within the call
/// (AWS Lambda developer guide, "Lambda execution environment lifecycle", Init phase: 10 seconds).
pub const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait of a call for capacity unless configured otherwise; then 429 or 503.
pub const CAPACITY_WAIT_DEFAULT: Duration = Duration::from_secs(10);
/// Shortest idle window that keep-alive may choose.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(60);
/// Longest idle window that keep-alive may choose.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(3_600);
/// Idle window while a function's history is too short to tell.
pub const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(600);
/// Longest life of an execution environment: after the call that ends behind it, the next one gets another.
pub const ENVIRONMENT_LIFE_MAX: Duration = Duration::from_secs(6 * 3_600);
/// Life of the credentials that an environment is started with.
pub const FUNCTION_CREDENTIALS_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Age at which a function's credentials are made anew for environments to come.
pub const FUNCTION_CREDENTIALS_RENEWED_AFTER: Duration = Duration::from_secs(3 * 3_600);
/// Time a role gets to finish running work after SIGTERM unless configured otherwise.
pub const SHUTDOWN_GRACE_DEFAULT: Duration = Duration::from_secs(30);
/// Longest time to set up one connection between roles.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a connection between roles is checked for life.
pub const CONNECTION_PING_INTERVAL: Duration = Duration::from_secs(2);
/// A connection between roles that leaves a check unanswered for this long is given up, and its calls with it.
pub const CONNECTION_PING_TIMEOUT: Duration = Duration::from_secs(4);

const fn longer(a: Duration, b: Duration) -> bool {
    a.as_nanos() > b.as_nanos()
}

// A worker misses several reports before anything is concluded, and is avoided before it is lost.
const _: () = assert!(longer(WORKER_AVOIDED_AFTER, WORKER_REPORT_INTERVAL));
const _: () = assert!(longer(WORKER_LOST_AFTER, WORKER_AVOIDED_AFTER));
// A lost worker is noticed while the leases on its slots could still be renewed.
const _: () = assert!(longer(LEASE_TERMS.gone_after(), WORKER_LOST_AFTER));
// Two lost renewals are survived.
const _: () = assert!(LEASE_TERMS.stop_using_after().as_nanos() >= 3 * LEASE_TERMS.renew_after().as_nanos());
// Between the last start of a call and the end of the lease lies more than a slow hop.
const _: () = assert!(longer(LEASE_TERMS.gone_after(), LEASE_TERMS.stop_using_after().saturating_add(CONNECT_TIMEOUT)));
// A renewal that hangs on a dead connection is given up while the lease can still be used.
const _: () = assert!(longer(
    LEASE_TERMS.stop_using_after(),
    LEASE_TERMS.renew_after().saturating_add(CONNECTION_PING_INTERVAL).saturating_add(CONNECTION_PING_TIMEOUT)
));
// No environment outlives its credentials, the longest call and the longest idle window included.
const _: () = assert!(longer(
    FUNCTION_CREDENTIALS_LIFE,
    FUNCTION_CREDENTIALS_RENEWED_AFTER
        .saturating_add(ENVIRONMENT_LIFE_MAX)
        .saturating_add(KEEP_ALIVE_MAX)
        .saturating_add(Duration::from_secs(crate::limits::TIMEOUT_MAX_S as u64))
));
const _: () = assert!(longer(KEEP_ALIVE_MAX, KEEP_ALIVE_DEFAULT) && longer(KEEP_ALIVE_DEFAULT, KEEP_ALIVE_MIN));
