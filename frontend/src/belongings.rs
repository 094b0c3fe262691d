//! The documents that belong to a function, and go with it.
//!
//! A document of a function lies at `account/function`, one of a version or an alias at `account/function/QUALIFIER` or
//! below, where the function without a qualifier is `$LATEST`. Then this file finds it.
//!
//! Invariant: documents are removed before what they belong to. A crash in between leaves a function without its
//! policy, say, never a policy that waits for the next function of that name.

use hearth_domain::{AccountId, FunctionName};
use hearth_store::document::{self, Change, CommitError, DocumentPath, Expected, Stored};
use hearth_store::{Document, Documents, StoreFailure};

use crate::alias::Alias;
use crate::api::function_settings::{RecursionConfig, RuntimeManagement};
use crate::asynchronous::configuration::EventInvokeConfig;
use crate::function_url::{FunctionUrl, UrlOwner};
use crate::resource_policy::ResourcePolicy;

/// Every kind of document that belongs to functions. A new kind is added here.
const KINDS: &[&str] = &[
    Alias::KIND,
    EventInvokeConfig::KIND,
    FunctionUrl::KIND,
    RecursionConfig::KIND,
    ResourcePolicy::KIND,
    RuntimeManagement::KIND,
];

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
        if let Some(stored) = documents.get(&own).await? {
            changes.extend(removals(own, &stored));
        }
        let below = document::all(documents, kind, &format!("{owner}/"), None).await?;
        changes.extend(below.into_iter().flat_map(|(path, stored)| removals(DocumentPath { kind, path }, &stored)));
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

/// The removal of a document and of what finds it by something else than its path.
fn removals(path: DocumentPath, stored: &Stored) -> impl Iterator<Item = Change> + use<> {
    let url = (path.kind == FunctionUrl::KIND).then(|| serde_json::from_slice::<FunctionUrl>(&stored.bytes).ok());
    let by_id = url.flatten().map(|url| DocumentPath { kind: UrlOwner::KIND, path: url.id });
    [Some(path), by_id].into_iter().flatten().map(|path| Change { path, value: None, expected: Expected::Anything })
}
