//! Which queues, topics and buses exist: one document each. Their messages are the store's ([`MessageStore`]).
//!
//! Nobody has to create one: naming it in a destination or as a dead-letter queue does, so that a configuration written
//! for AWS works as it is. One that is deleted gets no more records, though configurations still name it.
//!
//! [`MessageStore`]: hearth_store::MessageStore

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_domain::AccountId;
use hearth_store::document::{CommitError, Expected};
use hearth_store::{Collection, Document, Documents, StoreFailure};
use serde::{Deserialize, Serialize};

use crate::asynchronous::target::{ChannelKind, ChannelTarget};

/// Most channels of one kind of an account. Ours.
pub const CHANNELS_MAX: usize = 1_000;

/// A queue, a topic or a bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// When it was created, Unix milliseconds.
    pub created_unix_ms: u64,
    /// What else was set (SQS: queue attributes).
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl Document for Channel {
    const KIND: &'static str = "channel";
}

/// The channels of all accounts.
#[derive(Clone)]
pub struct Channels {
    documents: Collection<Channel>,
}

/// A channel that was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There are as many as there may be.
    #[error("the account has {CHANNELS_MAX} of them, which is the most")]
    TooMany,
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl Channels {
    /// The channels in this engine.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        Self { documents: Collection::new(documents) }
    }

    /// The channel, if it exists.
    pub async fn get(
        &self,
        account: &AccountId,
        kind: ChannelKind,
        name: &str,
    ) -> Result<Option<Arc<Channel>>, StoreFailure> {
        Ok(self.documents.get(&path(account, kind, name)).await?.map(|found| found.value))
    }

    /// Creates the channel unless it exists; says whether it did not.
    pub async fn ensure(
        &self,
        account: &AccountId,
        target: &ChannelTarget,
        attributes: BTreeMap<String, String>,
        now_unix_ms: u64,
    ) -> Result<bool, CreateError> {
        if self.get(account, target.kind, &target.name).await?.is_some() {
            return Ok(false);
        }
        if self.list(account, target.kind, "", None, CHANNELS_MAX).await?.len() >= CHANNELS_MAX {
            return Err(CreateError::TooMany);
        }
        let (name, arn) = (target.name.clone(), target.arn.clone());
        let channel = Channel { name, arn, created_unix_ms: now_unix_ms, attributes };
        let path = path(account, target.kind, &target.name);
        match self.documents.put(&path, &channel, Expected::Absent).await {
            Ok(()) => Ok(true),
            // Somebody else was faster.
            Err(CommitError::Unexpected { .. }) => Ok(false),
            Err(CommitError::Store(failure)) => Err(failure.into()),
        }
    }

    /// Channels of one kind by name, those whose name begins with `prefix`, from after `after`, at most `limit`.
    pub async fn list(
        &self,
        account: &AccountId,
        kind: ChannelKind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<Channel>>, StoreFailure> {
        let after = after.map(|after| path(account, kind, after));
        let found = self.documents.scan(&path(account, kind, prefix), after.as_deref(), limit).await?;
        Ok(found.into_iter().map(|(_, found)| found.value).collect())
    }

    /// Deletes a channel; says whether it existed. Its messages are the caller's to purge.
    pub async fn delete(&self, account: &AccountId, kind: ChannelKind, name: &str) -> Result<bool, StoreFailure> {
        match self.documents.remove(&path(account, kind, name), Expected::Present).await {
            Ok(()) => Ok(true),
            Err(CommitError::Unexpected { .. }) => Ok(false),
            Err(CommitError::Store(failure)) => Err(failure),
        }
    }
}

fn path(account: &AccountId, kind: ChannelKind, name: &str) -> String {
    format!("{account}/{kind}/{name}")
}
