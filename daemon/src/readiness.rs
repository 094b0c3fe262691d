//! Whether a process is ready, and if not, what it waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// What must hold before a process is ready. Cloning gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Readiness {
    conditions: Arc<watch::Sender<BTreeMap<&'static str, Option<String>>>>,
}

/// One thing that must hold. It does not until [`Self::met`] is called.
#[derive(Debug)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Ready, until conditions are added.
    #[must_use]
    pub fn new() -> Self {
        Self { conditions: Arc::new(watch::Sender::new(BTreeMap::new())) }
    }

    /// Adds a condition, not met so far.
    #[must_use]
    pub fn condition(&self, name: &'static str, waiting_for: &str) -> Condition {
        let condition = Condition { name, readiness: self.clone() };
        condition.unmet(waiting_for);
        condition
    }

    /// What is not met, each with its reason; empty when ready.
    #[must_use]
    pub fn unmet(&self) -> Vec<(&'static str, String)> {
        let unmet = |(name, reason): (&&'static str, &Option<String>)| reason.clone().map(|reason| (*name, reason));
        self.conditions.borrow().iter().filter_map(unmet).collect()
    }

    /// Resolves when everything is met.
    pub async fn ready(&self) {
        let mut changes = self.conditions.subscribe();
        // Fails only when the sender is gone, and `self` holds it.
        let _ = changes.wait_for(|conditions| conditions.values().all(Option::is_none)).await;
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Condition {
    /// It holds.
    pub fn met(&self) {
        self.readiness.conditions.send_modify(|conditions| drop(conditions.insert(self.name, None)));
    }

    /// It does not hold (any more).
    pub fn unmet(&self, reason: &str) {
        let reason = Some(reason.to_owned());
        self.readiness.conditions.send_modify(|conditions| drop(conditions.insert(self.name, reason)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ready_when_every_condition_is_met() {
        let readiness = Readiness::new();
        let (pool, listener) = (readiness.condition("pool", "fills"), readiness.condition("listener", "binds"));
        pool.met();
        assert_eq!(readiness.unmet(), [("listener", "binds".to_owned())]);
        assert!(tokio::time::timeout(Duration::from_secs(1), readiness.ready()).await.is_err());
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        listener.met();
        waiting.await.unwrap();
        pool.unmet("shutting down");
        assert_eq!(readiness.unmet(), [("pool", "shutting down".to_owned())]);
    }
}
