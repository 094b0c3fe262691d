//! The order in which a function prefers workers: highest score first.

use hearth_domain::{FunctionRef, WorkerId};

/// Where a worker stands in the orders of all functions. Computed once per worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerHash(u64);

/// A function's part of the score. Neither version nor revision is in it: new code goes where the old one ran, next to
/// its warm pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionHash(u64);

impl WorkerHash {
    /// The hash of a worker's id.
    #[must_use]
    pub fn of(worker: &WorkerId) -> Self {
        Self(mix(fnv1a(FNV_OFFSET, worker.as_str().as_bytes())))
    }

    /// So many of its first bits.
    pub(super) fn first_bits(self, count: u32) -> usize {
        let shift = u64::BITS - count;
        self.0.checked_shr(shift).map_or(0, |bits| usize::try_from(bits).unwrap_or(usize::MAX))
    }
}

impl FunctionHash {
    /// The hash of account and name.
    #[must_use]
    pub fn of(function: &FunctionRef) -> Self {
        let account = fnv1a(FNV_OFFSET, function.account.as_str().as_bytes());
        Self(fnv1a(account, function.name.as_str().as_bytes()))
    }

    /// How much the function prefers this worker.
    #[must_use]
    pub fn score(self, worker: WorkerHash) -> u64 {
        mix(self.0 ^ worker.0)
    }

    /// Which side of a fork the function prefers: 0 or 1.
    pub(super) fn side(self, fork: u64) -> usize {
        const FORKS: u64 = 0x5bf0_3635_dcf6_19e3;
        usize::from(mix(self.0 ^ mix(fork ^ FORKS)) >> (u64::BITS - 1) == 1)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a, 64 bits. The standard library's hasher may change between compilers; two placements of one fleet must agree.
fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The finalizer of splitmix64: every bit of the input changes half of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
