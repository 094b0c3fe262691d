//! From what a caller names (a function, and perhaps a version or an alias) to the version that is meant.
//!
//! Everything that runs or shows a function comes through here: HTTP invocations, asynchronous events, function URLs,
//! destinations. An alias that shares its calls out is drawn once a call; what was drawn is what is run, logged and
//! reported.

use std::sync::Arc;

use hearth_domain::{AccountId, AliasName, FunctionName, Version};
use hearth_store::{Catalog, Collection, Documents, FunctionRecord, StoreFailure};
use uuid::Uuid;

use crate::alias::Alias;
use crate::validation::Qualifier;

/// Finds versions. Cheap enough for every invocation: aliases that did not change are not decoded again.
#[derive(Clone)]
pub struct Resolver {
    catalog: Arc<dyn Catalog>,
    aliases: Collection<Alias>,
}

/// A version that was found.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The version.
    pub record: Arc<FunctionRecord>,
    /// The alias by which it was found.
    pub alias: Option<Arc<Alias>>,
}

impl Resolver {
    /// Finds in these stores.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>, documents: Arc<dyn Documents>) -> Self {
        Self { catalog, aliases: Collection::new(documents) }
    }

    /// The version that a call runs; `None` if the function, the version or the alias is not there. An alias with
    /// shares is drawn for.
    pub async fn resolve(
        &self,
        account: &AccountId,
        name: &FunctionName,
        qualifier: Option<&Qualifier>,
    ) -> Result<Option<Resolved>, StoreFailure> {
        self.find(account, name, qualifier, |alias| if alias.shares.is_empty() { 1.0 } else { draw() }).await
    }

    /// The version to be shown: of an alias the one it names, whatever its shares.
    pub async fn look_up(
        &self,
        account: &AccountId,
        name: &FunctionName,
        qualifier: Option<&Qualifier>,
    ) -> Result<Option<Resolved>, StoreFailure> {
        self.find(account, name, qualifier, |_| f64::INFINITY).await
    }

    /// The aliases, with what was decoded of them.
    #[must_use]
    pub fn aliases(&self) -> Collection<Alias> {
        self.aliases.clone()
    }

    /// An alias.
    pub async fn alias(
        &self,
        account: &AccountId,
        function: &FunctionName,
        name: &AliasName,
    ) -> Result<Option<Arc<Alias>>, StoreFailure> {
        let found = self.aliases.get(&Alias::path(account, function, name)).await?;
        Ok(found.map(|found| found.value))
    }

    async fn find(
        &self,
        account: &AccountId,
        name: &FunctionName,
        qualifier: Option<&Qualifier>,
        draw: impl FnOnce(&Alias) -> f64 + Send,
    ) -> Result<Option<Resolved>, StoreFailure> {
        let (version, alias) = match qualifier {
            None => (Version::Latest, None),
            Some(Qualifier::Version(version)) => (*version, None),
            Some(Qualifier::Alias(text)) => {
                // What no alias can be called names none.
                let Ok(alias) = AliasName::new(text) else { return Ok(None) };
                let Some(alias) = self.alias(account, name, &alias).await? else { return Ok(None) };
                (alias.pick(draw(&alias)), Some(alias))
            }
        };
        let record = self.catalog.get(account, name, version).await?;
        Ok(record.map(|record| Resolved { record, alias }))
    }
}

/// A number from 0 up to but not 1.
fn draw() -> f64 {
    const STEPS: f64 = 4_294_967_296.0;
    // The lower half of a random UUID is random but for two bits at its top.
    let random = Uuid::new_v4().as_u64_pair().1 & u64::from(u32::MAX);
    f64::from(u32::try_from(random).unwrap_or(u32::MAX)) / STEPS
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn draws_are_spread_evenly() {
        const DRAWS: usize = 4_000;
        let mut tenths = [0; 10];
        (0..DRAWS).for_each(|_| tenths[(draw() * 10.0) as usize] += 1);
        // Ten deviations: one failure in 10^22 runs.
        let expected = (DRAWS / 10) as i64;
        assert!(tenths.iter().all(|count: &i64| (count - expected).abs() < 190), "{tenths:?}");
    }
}
