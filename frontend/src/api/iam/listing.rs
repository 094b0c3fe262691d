//! Pages of lists.

use std::sync::Arc;

use hearth_store::{Collection, Document};

use crate::api::form::Form;
use crate::api::xml::Xml;
use crate::errors::ApiError;

/// Largest and default page (IAM API reference, `MaxItems`).
const PAGE_MAX: u32 = 1_000;
const PAGE_DEFAULT: u32 = 100;

/// One page of an account's documents of a kind: names and values, and the marker of the next page.
pub(super) struct Page<T> {
    pub(super) members: Vec<(String, Arc<T>)>,
    next: Option<String>,
}

impl<T: Document> Page<T> {
    pub(super) async fn read(of: &Collection<T>, account: &str, form: &Form) -> Result<Self, ApiError> {
        let limit = form.number("MaxItems", 1, PAGE_MAX, PAGE_DEFAULT)? as usize;
        let prefix = format!("{account}/");
        let after = form.get("Marker").map(|marker| format!("{prefix}{marker}"));
        let mut found = of.scan(&prefix, after.as_deref(), limit + 1).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let members = found.into_iter().map(|(path, found)| (path[prefix.len()..].to_owned(), found.value));
        let members: Vec<_> = members.collect();
        let next = members.last().filter(|_| more).map(|(name, _)| name.clone());
        Ok(Self { members, next })
    }

    /// `IsTruncated` and `Marker` behind the list.
    pub(super) fn end(&self, list: Xml) -> Xml {
        let list = list.text("IsTruncated", self.next.is_some());
        match &self.next {
            Some(next) => list.text("Marker", next),
            None => list,
        }
    }
}
