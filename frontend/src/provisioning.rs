//! Provisioned concurrency from what was configured to what is ready.
//!
//! The configurations are durable ([`crate::concurrency`]); the worker manager is told all of them at the start, after
//! every change, and now and then, since it does not remember them over a restart. What an alias has provisioned is made
//! of the versions it names, by their shares.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::{AccountId, FunctionName, FunctionRef, Version};
use hearth_protocol::worker_manager::{Provision, ProvisionReport, ProvisionTarget, Provisioned};
use hearth_protocol::{Unreachable, WorkerManager};
use hearth_store::StoreFailure;
use hearth_store::catalog::FunctionState;
use tokio::sync::{Mutex, Notify};
use tracing::warn;

use crate::alias::Alias;
use crate::concurrency::Concurrency;
use crate::resolution::Resolver;
use crate::specs::Specs;
use crate::validation::Qualifier;

/// How often the manager is told though nothing changed.
const AGAIN: Duration = Duration::from_secs(10);

/// Tells the worker manager what to keep ready.
#[derive(Clone)]
pub(crate) struct Provisioner {
    concurrency: Concurrency,
    resolver: Resolver,
    specs: Arc<Specs>,
    manager: Arc<dyn WorkerManager>,
    changed: Arc<Notify>,
    /// Held from reading to telling, so that what is older never follows what is newer.
    telling: Arc<Mutex<()>>,
}

/// How far the provisioning of one version or alias is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) allocated: u32,
    pub(crate) available: u32,
    pub(crate) failure: Option<String>,
}

/// What could not be read or told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvisionError {
    #[error(transparent)]
    Store(#[from] StoreFailure),
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// What one configuration asks of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    qualifier: String,
    function: FunctionRef,
    count: u32,
}

impl Provisioner {
    /// Starts telling.
    pub(crate) fn start(
        concurrency: Concurrency,
        resolver: Resolver,
        specs: Arc<Specs>,
        manager: Arc<dyn WorkerManager>,
        tasks: &Tasks,
    ) -> Self {
        let (changed, telling) = (Arc::default(), Arc::default());
        let this = Self { concurrency, resolver, specs, manager, changed, telling };
        let (teller, stop) = (this.clone(), tasks.stop_token());
        tasks.spawn("provisioning", OnFailure::EndRole, async move {
            stop.run_until_cancelled(teller.tell_for_ever()).await;
            Ok::<(), Infallible>(())
        });
        this
    }

    /// A configuration, an alias or a function changed.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// How far each configuration of a function is, by version or alias.
    pub(crate) async fn readiness(
        &self,
        account: &AccountId,
        name: &FunctionName,
    ) -> Result<BTreeMap<String, Readiness>, ProvisionError> {
        let (shares, report) = self.tell().await?;
        let mut readiness: BTreeMap<String, Readiness> = BTreeMap::new();
        for share in shares.iter().filter(|share| share.function.account == *account && share.function.name == *name) {
            let of = readiness.entry(share.qualifier.clone()).or_default();
            if let Some(found) = report.functions.iter().find(|found| found.function == share.function) {
                of.add(share.count, found);
            }
        }
        Ok(readiness)
    }

    async fn tell_for_ever(&self) {
        let mut told_some = true;
        loop {
            match self.tell_if(told_some).await {
                Ok(some) => told_some = some,
                Err(error) => warn!(%error, "the worker manager was not told what to keep ready; it is tried again"),
            }
            // A timeout is the reason to tell again.
            let _ = tokio::time::timeout(AGAIN, self.changed.notified()).await;
        }
    }

    /// Tells, unless there is nothing now and was nothing before; whether there is something now.
    async fn tell_if(&self, told_some: bool) -> Result<bool, ProvisionError> {
        if !told_some && self.concurrency.all().await?.is_empty() {
            return Ok(false);
        }
        Ok(!self.tell().await?.0.is_empty())
    }

    async fn tell(&self) -> Result<(Vec<Share>, ProvisionReport), ProvisionError> {
        let _one_tells = self.telling.lock().await;
        let (mut shares, mut targets) = (Vec::new(), BTreeMap::<FunctionRef, ProvisionTarget>::new());
        for (account, all) in self.concurrency.all().await? {
            for (name, of) in all.functions() {
                for (text, config) in &of.provisioned {
                    let qualifier = Qualifier::read(text);
                    for (version, count) in self.versions(&account, name, &qualifier, config.requested).await? {
                        let qualifier = Qualifier::Version(version);
                        let Some(found) = self.resolver.look_up(&account, name, Some(&qualifier)).await? else {
                            continue;
                        };
                        if found.record.state != FunctionState::Active {
                            continue;
                        }
                        let function = found.record.function.clone();
                        shares.push(Share { qualifier: text.clone(), function: function.clone(), count });
                        let spec = self.specs.of(&found.record);
                        targets.entry(function).or_insert(ProvisionTarget { function: spec, count: 0 }).count += count;
                    }
                }
            }
        }
        let report = self.manager.provision(Provision { targets: targets.into_values().collect() }).await?;
        Ok((shares, report))
    }

    async fn versions(
        &self,
        account: &AccountId,
        name: &FunctionName,
        qualifier: &Qualifier,
        requested: u32,
    ) -> Result<Vec<(Version, u32)>, StoreFailure> {
        match qualifier {
            Qualifier::Version(version) => Ok(vec![(*version, requested)]),
            Qualifier::Alias(_) => {
                let found = self.resolver.look_up(account, name, Some(qualifier)).await?;
                Ok(found.and_then(|found| found.alias).map(|alias| split(&alias, requested)).unwrap_or_default())
            }
        }
    }
}

impl Readiness {
    /// Takes in what is ready of a version of which this needs `count`.
    fn add(&mut self, count: u32, found: &Provisioned) {
        self.allocated += found.allocated.min(count);
        self.available += found.available.min(count);
        self.failure = self.failure.take().or_else(|| found.failure.clone());
    }
}

/// What of `requested` each of an alias' versions gets: its share, rounded, and the rest to the one it names.
fn split(alias: &Alias, requested: u32) -> Vec<(Version, u32)> {
    let mut left = requested;
    let mut split = Vec::new();
    for share in &alias.shares {
        let count = (f64::from(requested) * share.weight).round().clamp(0.0, f64::from(left));
        // Between 0 and a u32 by the line above.
        let count = count as u32;
        left -= count;
        split.push((share.version, count));
    }
    split.push((alias.version, left));
    split.retain(|(version, count)| *count > 0 && *version != Version::Latest);
    split
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alias::Share;

    proptest! {
        /// Nothing is lost or made by splitting, and nobody is more than half an environment off their share.
        #[test]
        fn an_alias_provisions_what_was_asked_for(requested in 1..1_000_u32, weight in 0.0..=1.0_f64) {
            let alias = Alias {
                name: "live".parse().unwrap(),
                version: Version::Number(1),
                description: String::new(),
                shares: vec![Share { version: Version::Number(2), weight }],
                revision: "r".parse().unwrap(),
            };
            let split: BTreeMap<_, _> = split(&alias, requested).into_iter().collect();
            prop_assert_eq!(split.values().sum::<u32>(), requested);
            let second = split.get(&Version::Number(2)).copied().unwrap_or(0);
            prop_assert!((f64::from(second) - f64::from(requested) * weight).abs() <= 0.5);
        }
    }
}
