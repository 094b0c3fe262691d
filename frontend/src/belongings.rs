//! The documents that belong to a function, and go with it.
//!
//! A document of a function lies at `account/function`, one of a version or an alias at `account/function/QUALIFIER` or
//! below, where the function without a qualifier is `$LATEST`. Then this file finds it.
//!
//! Invariant: documents are removed before what they belong to. A crash in between leaves a function without its
//! policy, say, never a policy that waits for the next function of that name.

use hearth_domain::{AccountId, FunctionName};
use hearth_store::document::{Change, CommitError, DocumentPath, Expected};
use hearth_store::{Document, Documents, StoreFailure};

use crate::alias::Alias;
use crate::asynchronous::configuration::EventInvokeConfig;
use crate::resource_policy::ResourcePolicy;

/// Every kind of document that belongs to functions. A new kind is added here.
const KINDS: &[&str] = &[Alias::KIND, EventInvokeConfig::KIND, ResourcePolicy::KIND];
/// Documents read at a time.
const CHUNK: usize = 256;

/// Removes all that belongs to a function, or only to one version or alias of it, in one commit. The caller holds the
/// function's change lock.
pub async fn remove(
    documents: &dyn Documents,
    account: &AccountId,
    function: &FunctionName,
    qualifier: Option<&str>,
) -> Result<(), StoreFailure> {
    let owner = match qualifier {
        None => format!("{account}/{function}"),
        Some(qualifier) => format!("{account}/{function}/{qualifier}"),
    };
    let mut changes = Vec::new();
    for kind in KINDS.iter().copied() {
        let own = DocumentPath { kind, path: owner.clone() };
        if documents.get(&own).await?.is_some() {
            changes.push(removal(own));
        }
        let below = format!("{owner}/");
        let mut after = None;
        loop {
            let page = documents.scan(kind, &below, after.as_deref(), CHUNK).await?;
            let full = page.len() == CHUNK;
            after = page.last().map(|(path, _)| path.clone());
            changes.extend(page.into_iter().map(|(path, _)| removal(DocumentPath { kind, path })));
            if !full {
                break;
            }
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    match documents.commit(changes).await {
        Ok(()) => Ok(()),
        Err(CommitError::Store(failure)) => Err(failure),
        Err(unexpected @ CommitError::Unexpected { .. }) => Err(StoreFailure::new("remove a function's", unexpected)),
    }
}

fn removal(path: DocumentPath) -> Change {
    Change { path, value: None, expected: Expected::Anything }
}
