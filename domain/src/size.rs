//! Sizes and durations that a function's owner chooses, each within Lambda's bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{
    EPHEMERAL_STORAGE_MAX_MB, EPHEMERAL_STORAGE_MIN_MB, MEMORY_MAX_MB, MEMORY_MB_PER_VCPU, MEMORY_MIN_MB,
    TIMEOUT_MAX_S, TIMEOUT_MIN_S,
};

/// A value outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be from {min} to {max} {unit}, not {value}")]
pub struct OutOfBounds {
    /// Which setting.
    pub what: &'static str,
    /// What was given.
    pub value: u32,
    /// The smallest allowed.
    pub min: u32,
    /// The largest allowed.
    pub max: u32,
    /// The unit of all three.
    pub unit: &'static str,
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $what:literal, $unit:literal, $min:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// Takes `value` if it is within bounds.
            pub const fn new(value: u32) -> Result<Self, OutOfBounds> {
                if value < $min || value > $max {
                    return Err(OutOfBounds { what: $what, value, min: $min, max: $max, unit: $unit });
                }
                Ok(Self(value))
            }

            /// The plain number, in the unit the type documents.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = OutOfBounds;

            fn try_from(value: u32) -> Result<Self, OutOfBounds> {
                Self::new(value)
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

bounded!(
    /// Memory of a function in MB (2^20 bytes, as Lambda counts), 128 to 10,240.
    MemorySize, "memory", "MB", MEMORY_MIN_MB, MEMORY_MAX_MB
);
bounded!(
    /// Longest run of one invocation in whole seconds, 1 to 900.
    Timeout, "timeout", "seconds", TIMEOUT_MIN_S, TIMEOUT_MAX_S
);
bounded!(
    /// Size of `/tmp` in MB (2^20 bytes), 512 to 10,240.
    EphemeralStorage, "ephemeral storage", "MB", EPHEMERAL_STORAGE_MIN_MB, EPHEMERAL_STORAGE_MAX_MB
);

impl MemorySize {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0 as u64 * 1024 * 1024
    }

    /// CPU share in thousandths of a vCPU: 1,769 MB buy one vCPU
    /// (AWS Lambda developer guide, "Configure Lambda function memory"). Rounded to nearest, at least 1.
    #[must_use]
    pub const fn milli_cpus(self) -> u32 {
        let milli = (self.0 * 1000 + MEMORY_MB_PER_VCPU / 2) / MEMORY_MB_PER_VCPU;
        if milli == 0 { 1 } else { milli }
    }
}

impl Timeout {
    /// The timeout as a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl EphemeralStorage {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0 as u64 * 1024 * 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_both_ends() {
        assert!(MemorySize::new(127).is_err() && MemorySize::new(10_241).is_err());
        assert!(MemorySize::new(128).is_ok() && MemorySize::new(10_240).is_ok());
        assert!(Timeout::new(0).is_err() && Timeout::new(901).is_err());
        assert!(EphemeralStorage::new(511).is_err() && EphemeralStorage::new(512).is_ok());
    }

    #[test]
    fn a_vcpu_costs_1769_mb() {
        assert_eq!(MemorySize::new(1769).unwrap().milli_cpus(), 1000);
        assert_eq!(MemorySize::new(128).unwrap().milli_cpus(), 72);
        assert_eq!(MemorySize::new(10_240).unwrap().milli_cpus(), 5789);
    }
}
