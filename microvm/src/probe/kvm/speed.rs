//! How fast guests run: measured, because a `/dev/kvm` that opens may be an emulator's.

use std::io;
use std::time::Duration;

use kvm_ioctls::Kvm;

use crate::probe::Finding;
use crate::sys::calibrate::{Countdown, emulator, native};

/// A guest that takes at most so many times what the processor itself takes runs on the processor.
const NATIVE_RATIO_MAX: f64 = 2.0;
/// Instructions a second, in millions, below which a guest's kernel does not come up in a useful time: it takes some
/// 100 million.
const BOOTABLE_MIPS_MIN: f64 = 20.0;
/// Rounds of the loop at first: a fraction of a second where guests are slow.
const FIRST_ROUNDS: u32 = 20_000;
/// How many times more they become, until they take long enough.
const GROWTH: u32 = 8;
/// So long a run has to take: what it costs to enter a guest and to leave it does not count then.
const LONG_ENOUGH: Duration = Duration::from_millis(10);
/// Rounds outside: some milliseconds.
const NATIVE_ROUNDS: u32 = 10_000_000;
/// Rounds that are enough however short they take.
const ROUNDS_MAX: u32 = 40_000_000;
/// Measurements, of which the shortest counts: nothing makes a loop faster than it is.
const TRIES: u32 = 3;
/// Instructions of one round.
const ROUND_INSTRUCTIONS: f64 = 2.0;

const WHAT: &str = "speed of guests";

/// Runs a tiny guest.
pub(super) fn finding(kvm: &Kvm) -> Finding {
    match measure(kvm) {
        Ok(speed) => judge(speed, emulator().as_deref()),
        Err(error) => Finding::missing(
            WHAT,
            format!("a tiny guest does not run: {error}"),
            "look into the kernel's log (dmesg) for what KVM says; use --isolation jail",
        ),
    }
}

/// Millions of instructions a second, of a guest and of the processor itself.
#[derive(Debug, Clone, Copy)]
struct Speed {
    guest_mips: f64,
    native_mips: f64,
}

fn measure(kvm: &Kvm) -> io::Result<Speed> {
    let mut guest = Countdown::new(kvm)?;
    // The first run of anything is slow.
    guest.run(FIRST_ROUNDS)?;
    let mut rounds = FIRST_ROUNDS;
    let mut taken = guest.run(rounds)?;
    while taken < LONG_ENOUGH && rounds < ROUNDS_MAX {
        rounds = (rounds * GROWTH).min(ROUNDS_MAX);
        taken = guest.run(rounds)?;
    }
    // Where guests are slow, once is enough.
    if rounds > FIRST_ROUNDS {
        taken = taken.min(shortest(|| guest.run(rounds))?);
    }
    let mips = |rounds: u32, taken: Duration| f64::from(rounds) * ROUND_INSTRUCTIONS / (taken.as_secs_f64() * 1e6);
    Ok(Speed {
        guest_mips: mips(rounds, taken),
        native_mips: mips(NATIVE_ROUNDS, shortest(|| Ok(native(NATIVE_ROUNDS)))?),
    })
}

fn shortest(mut run: impl FnMut() -> io::Result<Duration>) -> io::Result<Duration> {
    let mut shortest = Duration::MAX;
    for _ in 0..TRIES {
        shortest = shortest.min(run()?);
    }
    Ok(shortest)
}

fn judge(Speed { guest_mips, native_mips }: Speed, emulator: Option<&str>) -> Finding {
    let ratio = native_mips / guest_mips;
    let seen = format!(
        "a loop runs at {guest_mips:.0} million instructions a second in a guest, {native_mips:.0} outside ({ratio:.1} \
         times slower; native is up to {NATIVE_RATIO_MAX})"
    );
    if guest_mips < BOOTABLE_MIPS_MIN {
        let remedy = format!(
            "this KVM emulates, below the {BOOTABLE_MIPS_MIN} that a kernel needs to come up: use hardware with \
             virtualisation, or --isolation jail"
        );
        return Finding::missing(WHAT, seen, remedy);
    }
    if let Some(emulator) = emulator {
        let remedy = "good for trying; run --isolation jail, or hardware with virtualisation, for work";
        return Finding::limited(WHAT, format!("{seen}; this machine itself is emulated by {emulator}"), remedy);
    }
    if ratio > NATIVE_RATIO_MAX {
        let remedy = "this KVM emulates: it works if asked for by name, --isolation kvm, but slowly";
        return Finding::limited(WHAT, seen, remedy);
    }
    Finding::good(WHAT, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Verdict;

    fn verdict(guest_mips: f64, native_mips: f64, emulator: Option<&str>) -> Verdict {
        let found = judge(Speed { guest_mips, native_mips }, emulator);
        assert_eq!(found.remedy.is_empty(), found.verdict == Verdict::Good);
        found.verdict
    }

    #[test]
    fn native_is_good_slow_is_told_and_too_slow_is_none() {
        assert_eq!(verdict(5_900.0, 6_000.0, None), Verdict::Good);
        assert_eq!(verdict(2_000.0, 6_000.0, None), Verdict::Limited);
        assert_eq!(verdict(900.0, 1_000.0, Some("TCGTCGTCGTCG")), Verdict::Limited);
        assert_eq!(verdict(1.0, 6_000.0, None), Verdict::Missing);
        assert_eq!(verdict(1.0, 6_000.0, Some("TCGTCGTCGTCG")), Verdict::Missing);
    }
}
