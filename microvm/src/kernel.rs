//! The running kernel's version, where it decides what a call means.

/// Major and minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

/// Attributes of a detached mount (`mount_setattr`), without which there is no jail.
pub(crate) const MOUNT_ATTRIBUTES: Version = Version(5, 12);
/// From here on a limit on processes counts for each user namespace, not for a user of the whole host.
pub(crate) const PROCESSES_COUNTED_BY_NAMESPACE: Version = Version(5, 14);
/// From here on moves between cgroups wait for a grace period, unless version 2 is mounted with `favordynmods`.
pub(crate) const MOVES_WAIT: Version = Version(6, 0);

impl Version {
    /// Of this host; `0.0` if it doesn't say.
    pub(crate) fn running() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default())
    }

    fn parse(release: &str) -> Self {
        let mut numbers =
            release.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        Self(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_write_all_kinds_of_things_behind_it() {
        assert_eq!(Version::parse("6.1.0-56-cloud-amd64\n"), Version(6, 1));
        assert_eq!(Version::parse("5.15-generic"), Version(5, 15));
        assert_eq!(Version::parse(""), Version(0, 0));
        assert!(Version(5, 9) < MOUNT_ATTRIBUTES && Version(5, 12) >= MOUNT_ATTRIBUTES);
    }
}
