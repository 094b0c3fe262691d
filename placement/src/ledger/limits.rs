//! What bounds the ledger's memory and work. Reaching a bound is a clear answer.

use std::time::Duration;

/// Most workers of a fleet; the report of one more is refused.
pub const WORKERS_MAX: usize = 16_384;
/// Most slots of one worker; a report with more is refused.
pub const REPORTED_SLOTS_MAX: usize = 16_384;
/// Most slots of one claim; what it asks for beyond is answered with `NoCapacity`.
pub const CLAIM_SLOTS_MAX: u32 = 1_024;
/// Most claims, open and finished, that are remembered. One more makes the oldest finished one forgotten, or is answered with
/// `NoCapacity`.
pub const CLAIMS_MAX: usize = 16_384;
/// Most workers that are asked for one slot, one after the other.
pub const PLACEMENT_ATTEMPTS_MAX: u32 = 4;
/// Most requests to recover the same holder that wait for one answer.
pub const RECOVER_WAITERS_MAX: usize = 8;
/// Most refused slots that are remembered for `give_back_mb`.
pub const UNMET_MAX: usize = 1_024;
/// How long a slot that was refused counts as wanted: as long as a manager backs off at most before it asks again.
pub const UNMET_REMEMBERED: Duration = Duration::from_secs(2);
/// Earlier incarnations of a worker whose late reports are recognized.
pub const PAST_INCARNATIONS_MAX: usize = 8;
/// Reports without a slot that was never in one, before it is taken for gone: the first may have been composed before the
/// slot was made.
pub const UNSEEN_MISSES_MAX: u32 = 3;
/// No token is above; a report with a higher one is refused, so that a broken worker can't use them up.
pub const TOKEN_MAX: u64 = u64::MAX >> 1;
