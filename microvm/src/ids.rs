//! Host user ids for sandboxes: each has a range of its own, so that no user of one is a user of another, or of the
//! host.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

/// Host ids that follow one another and belong to one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range32 {
    /// What 0 inside is outside.
    pub(crate) first: u32,
    /// How many there are.
    pub(crate) count: u32,
}

/// Ids of a whole sandbox, as root: everything a passwd file may hold.
const PER_SANDBOX: u32 = 65_536;
/// Ids of a sandbox where few are to be had (a user's subordinate ones are 65,536, for all its sandboxes): root and the
/// user of function code.
const PER_SANDBOX_FEW: u32 = 2;
/// Sandboxes of one launcher that can be alive at a time.
const PER_LAUNCHER: u32 = 1_024;
/// Launchers of one host that can be alive at a time.
const LAUNCHERS: u32 = 30;

/// Whether ids beside an own one are enough for a sandbox with users of its own.
pub(crate) fn can_be_divided(ids: &Range<u32>) -> bool {
    ids.len() >= PER_SANDBOX_FEW as usize
}

/// The ranges of one launcher.
pub(crate) struct Ids {
    free: Mutex<Vec<Range32>>,
    /// Whether there is but one id, the launcher's own.
    only_own: bool,
    /// Held while the launcher's part of the host's ids is in use.
    _claim: Option<File>,
}

/// A range in use by one sandbox; free again when dropped.
pub(crate) struct Lease {
    pub(crate) range: Range32,
    ids: Arc<Ids>,
}

impl Ids {
    /// Takes a part of the host's ids from `first` on that no other launcher of this host has; `locks` is where they
    /// agree on that.
    pub(crate) fn of_host(first: u32, locks: &Path) -> io::Result<Self> {
        fs::create_dir_all(locks)?;
        for part in 0..LAUNCHERS {
            let lock = File::create(locks.join(format!("uids-{part}")))?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let from = first + part * PER_LAUNCHER * PER_SANDBOX;
                    let free = ranges(from..from + PER_LAUNCHER * PER_SANDBOX, PER_SANDBOX);
                    return Ok(Self { free: Mutex::new(free), only_own: false, _claim: Some(lock) });
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, "every part of the host's user ids is taken by a launcher"))
    }

    /// Divides the ids that a user namespace has beside its root.
    pub(crate) fn of_namespace(ids: Range<u32>) -> Self {
        let free = ranges(ids, PER_SANDBOX_FEW);
        let only_own = free.is_empty();
        Self { free: Mutex::new(free), only_own, _claim: None }
    }

    pub(crate) fn only_own(&self) -> bool {
        self.only_own
    }

    pub(crate) fn lease(self: &Arc<Self>) -> io::Result<Lease> {
        if self.only_own {
            return Ok(Lease { range: Range32 { first: 0, count: 1 }, ids: Arc::clone(self) });
        }
        let range = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let range =
            range.ok_or_else(|| io::Error::new(io::ErrorKind::QuotaExceeded, "no user ids left for a sandbox"))?;
        Ok(Lease { range, ids: Arc::clone(self) })
    }
}

impl Range32 {
    /// The content of `uid_map` or `gid_map`, where function code runs as `user`.
    pub(crate) fn map(&self, user: u32) -> String {
        let Self { first, count } = *self;
        if count == PER_SANDBOX_FEW {
            return format!("0 {first} 1\n{user} {} 1\n", first + 1);
        }
        format!("0 {first} {count}\n")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.ids.only_own {
            self.ids.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.range);
        }
    }
}

/// Whole ranges only; the lowest last, to be taken first.
fn ranges(ids: Range<u32>, each: u32) -> Vec<Range32> {
    let count = ids.end.saturating_sub(ids.start) / each;
    (0..count).rev().map(|index| Range32 { first: ids.start + index * each, count: each }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_never_overlap_and_come_back() {
        let ids = Arc::new(Ids::of_namespace(1..1 + 3 * PER_SANDBOX_FEW));
        let leases: Vec<_> = (0..3).map(|_| ids.lease().unwrap()).collect();
        let mut firsts: Vec<_> = leases.iter().map(|lease| lease.range.first).collect();
        firsts.sort_unstable();
        assert_eq!(firsts, [1, 1 + PER_SANDBOX_FEW, 1 + 2 * PER_SANDBOX_FEW]);
        assert!(ids.lease().is_err());
        drop(leases);
        assert!(ids.lease().is_ok());
    }

    #[test]
    fn a_users_ids_are_enough_for_every_sandbox_that_fits_on_a_host() {
        let ids = Arc::new(Ids::of_namespace(1..65_537));
        let leases: Vec<_> = (0..10_000).map(|_| ids.lease().unwrap()).collect();
        assert_eq!(leases[0].range.map(993), "0 1 1\n993 2 1\n");
        assert_eq!(leases[1].range.map(990), "0 3 1\n990 4 1\n");
    }

    #[test]
    fn two_launchers_of_a_host_get_different_parts() {
        let locks = tempfile::tempdir().unwrap();
        let (one, two) =
            (Ids::of_host(2_000_000, locks.path()).unwrap(), Ids::of_host(2_000_000, locks.path()).unwrap());
        let (one, two) = (Arc::new(one).lease().unwrap(), Arc::new(two).lease().unwrap());
        assert_eq!(two.range.first - one.range.first, PER_LAUNCHER * PER_SANDBOX);
    }

    #[test]
    fn every_launchers_ids_fit_below_what_some_tools_take_as_negative() {
        assert!(2_000_000_u64 + u64::from(LAUNCHERS) * u64::from(PER_LAUNCHER) * u64::from(PER_SANDBOX) < 1 << 31);
    }

    #[test]
    fn without_ids_to_divide_the_own_one_serves_all() {
        let ids = Arc::new(Ids::of_namespace(1..1));
        assert!(ids.only_own());
        assert_eq!(ids.lease().unwrap().range.map(993), "0 0 1\n");
    }
}
