//! Aliases: names for versions, and how one shares its calls out between two.

use hearth_domain::{AccountId, AliasName, FunctionName, RevisionId, Version};
use hearth_store::Document;
use serde::{Deserialize, Serialize};

/// An alias, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    /// Its name.
    pub name: AliasName,
    /// The version it names.
    pub version: Version,
    /// Free text.
    pub description: String,
    /// Versions that get a share of its calls (AWS: `AdditionalVersionWeights`).
    #[serde(default)]
    pub shares: Vec<Share>,
    /// Changes with every change of it.
    pub revision: RevisionId,
}

/// A version's share of an alias' calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Which version.
    pub version: Version,
    /// How much of the calls it gets, from 0 to 1.
    pub weight: f64,
}

impl Document for Alias {
    const KIND: &'static str = "alias";
}

impl Alias {
    /// Where an alias lies among the documents.
    #[must_use]
    pub fn path(account: &AccountId, function: &FunctionName, name: &AliasName) -> String {
        format!("{account}/{function}/{name}")
    }

    /// What the paths of all aliases of a function begin with.
    #[must_use]
    pub fn path_of_all(account: &AccountId, function: &FunctionName) -> String {
        format!("{account}/{function}/")
    }

    /// The version that a call runs for which `draw`, from 0 up to but not 1, was drawn.
    #[must_use]
    pub fn pick(&self, draw: f64) -> Version {
        let mut below = 0.0;
        for share in &self.shares {
            below += share.weight;
            if draw < below {
                return share.version;
            }
        }
        self.version
    }

    /// Whether calls go to this version.
    #[must_use]
    pub fn names(&self, version: Version) -> bool {
        self.version == version || self.shares.iter().any(|share| share.version == version)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alias(shares: &[(u64, f64)]) -> Alias {
        let shares = shares.iter().map(|(number, weight)| Share { version: Version::Number(*number), weight: *weight });
        Alias {
            name: "prod".parse().unwrap(),
            version: Version::Number(1),
            description: String::new(),
            shares: shares.collect(),
            revision: "r".parse().unwrap(),
        }
    }

    #[test]
    fn without_shares_and_at_the_ends_one_version_gets_all() {
        for draw in [0.0, 0.5, 0.999_999] {
            assert_eq!(alias(&[]).pick(draw), Version::Number(1));
            assert_eq!(alias(&[(2, 0.0)]).pick(draw), Version::Number(1));
            assert_eq!(alias(&[(2, 1.0)]).pick(draw), Version::Number(2));
        }
    }

    #[test]
    fn a_path_is_below_the_function() {
        let (account, function) = ("000000000000".parse().unwrap(), "f".parse().unwrap());
        assert_eq!(Alias::path(&account, &function, &"prod".parse().unwrap()), "000000000000/f/prod");
    }

    proptest! {
        /// Of evenly spread draws, each version gets its share to within one call.
        #[test]
        fn calls_are_shared_out_by_weight(first in 0.0..=0.5_f64, second in 0.0..=0.5_f64) {
            const CALLS: u32 = 1_000;
            let alias = alias(&[(2, first), (3, second)]);
            let picked: Vec<_> = (0..CALLS).map(|call| alias.pick(f64::from(call) / f64::from(CALLS))).collect();
            let share = |number| picked.iter().filter(|version| **version == Version::Number(number)).count() as f64;
            prop_assert!((share(2) - first * f64::from(CALLS)).abs() <= 1.0);
            prop_assert!((share(3) - second * f64::from(CALLS)).abs() <= 2.0);
            prop_assert_eq!(share(1) + share(2) + share(3), f64::from(CALLS));
        }
    }
}
