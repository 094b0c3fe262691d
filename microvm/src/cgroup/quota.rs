//! From thousandths of a CPU to what the scheduler takes.

/// How often a CPU quota is given out, µs. Shorter than the kernel's usual 100 ms, so that a sandbox with a small share
/// that has used it up waits less for the next.
pub(super) const PERIOD_US: u64 = 20_000;
/// The kernel accepts no quota below this, µs.
const MIN_QUOTA_US: u64 = 1_000;
/// The kernel's bounds and default of `cpu.shares` for one whole CPU.
const SHARES_OF_ONE_CPU: u64 = 1_024;
const MIN_SHARES: u64 = 2;

/// CPU time per period, µs.
pub(super) fn quota_us(milli_cpus: u32) -> u64 {
    (PERIOD_US * u64::from(milli_cpus) / 1_000).max(MIN_QUOTA_US)
}

/// Relative weight on version 1: a whole CPU is 1,024.
pub(super) fn shares(milli_cpus: u32) -> u64 {
    (SHARES_OF_ONE_CPU * u64::from(milli_cpus) / 1_000).max(MIN_SHARES)
}

/// Relative weight on version 2 (1–10,000): a whole CPU is 100.
pub(super) fn weight(milli_cpus: u32) -> u64 {
    (u64::from(milli_cpus) / 10).clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_is_in_proportion_with_a_floor() {
        assert_eq!(quota_us(1_000), PERIOD_US);
        assert_eq!(quota_us(6_000), 6 * PERIOD_US);
        assert_eq!(quota_us(72), 1_440);
        assert_eq!(quota_us(1), MIN_QUOTA_US);
    }

    #[test]
    fn weights_stay_within_what_the_kernel_takes() {
        assert_eq!((shares(1_000), shares(0)), (1_024, 2));
        assert_eq!((weight(1_000), weight(0), weight(u32::MAX)), (100, 1, 10_000));
    }
}
