//! Keeps the starting of processes apart from files that were just written and will be executed.
//!
//! A process that is being started has copies of this process's descriptors until it executes its own program. As long
//! as one of them is open for writing, nobody can execute that file (`ETXTBSY`). So whoever writes such files waits, when
//! they are closed here, until every start that was under way is over.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// The starts of sandboxes that are under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Starting(Arc<RwLock<()>>);

/// One start under way; over when dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    _held: OwnedRwLockReadGuard<()>,
}

impl Starting {
    /// To be held while a process is started.
    pub(crate) async fn begin(&self) -> UnderWay {
        UnderWay { _held: self.0.clone().read_owned().await }
    }

    /// Resolves when every start that is under way is over. Those that begin meanwhile wait for that moment.
    pub(crate) async fn settled(&self) {
        drop(self.0.write().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_every_start_that_is_under_way() {
        let starting = Starting::default();
        starting.settled().await;
        let (first, second) = (starting.begin().await, starting.begin().await);
        let settled = starting.settled();
        tokio::pin!(settled);
        assert!(futures::poll!(settled.as_mut()).is_pending());
        drop(first);
        assert!(futures::poll!(settled.as_mut()).is_pending());
        drop(second);
        settled.await;
        drop(starting.begin().await);
    }
}
