//! The device status register (virtio 1.2, sections 2.1 and 3.1.1).
//!
//! ```text
//! 0 ──▶ ACKNOWLEDGE ──▶ DRIVER ──▶ FEATURES_OK ──▶ DRIVER_OK          each keeps the bits of those before it
//! ▲         any ──▶ + FAILED (driver gives up)     any ──▶ + DEVICE_NEEDS_RESET (device gives up)
//! └──────────────────────────────── a write of 0, from anywhere
//! ```
//!
//! A driver may take several steps in one write, never one back: such a write changes nothing.

/// Value of the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Status(u32);

impl Status {
    pub(super) const ACKNOWLEDGE: u32 = 1;
    pub(super) const DRIVER: u32 = 2;
    pub(super) const DRIVER_OK: u32 = 4;
    pub(super) const FEATURES_OK: u32 = 8;
    pub(super) const NEEDS_RESET: u32 = 64;
    pub(super) const FAILED: u32 = 128;

    /// The states on the way up, without the bits of failure.
    const LADDER: [u32; 5] = [
        0,
        Self::ACKNOWLEDGE,
        Self::ACKNOWLEDGE | Self::DRIVER,
        Self::ACKNOWLEDGE | Self::DRIVER | Self::FEATURES_OK,
        Self::ACKNOWLEDGE | Self::DRIVER | Self::FEATURES_OK | Self::DRIVER_OK,
    ];

    /// From a snapshot; `None` where no driver could have brought it.
    pub(super) fn from_bits(bits: u32) -> Option<Self> {
        Self::LADDER.contains(&(bits & !(Self::FAILED | Self::NEEDS_RESET))).then_some(Self(bits))
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// Whether the device may work on its queues.
    pub(super) fn is_running(self) -> bool {
        self.has(Self::DRIVER_OK) && !self.has(Self::FAILED | Self::NEEDS_RESET)
    }

    /// The device gives up.
    pub(super) fn give_up(&mut self) {
        self.0 |= Self::NEEDS_RESET;
    }

    /// The driver writes `value`, which is not 0; `features_acceptable` says whether what it chose will do. Without that,
    /// `FEATURES_OK` and what comes after stay off, which is how the driver learns of it.
    pub(super) fn write(&mut self, value: u32, features_acceptable: bool) {
        let value = (value & !Self::NEEDS_RESET) | (self.0 & Self::NEEDS_RESET);
        let is_step_back = self.0 & !value != 0;
        let Some(new) = Self::from_bits(value) else { return };
        if is_step_back {
            return;
        }
        let refused = new.has(Self::FEATURES_OK) && !self.has(Self::FEATURES_OK) && !features_acceptable;
        self.0 = if refused { value & !(Self::FEATURES_OK | Self::DRIVER_OK) } else { value };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state a driver can bring about × every write: the result is on the ladder and has all the bits from before.
    #[test]
    fn no_write_leaves_the_ladder_or_goes_down_it() {
        for from in (1..=255).filter_map(Status::from_bits) {
            for value in 1..=255 {
                for acceptable in [true, false] {
                    let mut status = from;
                    status.write(value, acceptable);
                    assert!(Status::from_bits(status.bits()).is_some(), "{from:?} {value:#x}");
                    assert_eq!(status.bits() & from.bits(), from.bits(), "{from:?} {value:#x}");
                    assert_eq!(status.has(Status::NEEDS_RESET), from.has(Status::NEEDS_RESET));
                    let gained_features = status.has(Status::FEATURES_OK) && !from.has(Status::FEATURES_OK);
                    assert!(acceptable || !gained_features, "{from:?} {value:#x}");
                }
            }
        }
    }

    #[test]
    fn a_driver_climbs_step_by_step_or_at_once() {
        let mut status = Status::default();
        for step in &Status::LADDER[1..] {
            status.write(*step, true);
            assert_eq!(status.bits(), *step);
        }
        assert!(status.is_running());
        status.give_up();
        assert!(!status.is_running());

        let mut status = Status::default();
        status.write(Status::LADDER[4], false);
        assert_eq!(status.bits(), Status::LADDER[2]);
        status.write(Status::LADDER[4], true);
        assert!(status.is_running());
    }
}
