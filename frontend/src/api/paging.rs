//! Lists that come in pages: `MaxItems`, `Marker`, `NextMarker`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::call::Call;
use crate::errors::ApiError;

/// Largest `MaxItems` that may be asked for (service model, `MaxListItems`).
const MAX_ITEMS: u32 = 10_000;
/// Most items in one page, whatever was asked for
/// (AWS: ListFunctions, "Lambda returns up to 50 functions per call").
const PAGE_MAX: u32 = 50;

/// How many items a page has.
pub(super) fn page_size(call: &Call) -> Result<usize, ApiError> {
    let asked = call.query_number("MaxItems", "maxItems", MAX_ITEMS, PAGE_MAX)?;
    Ok(asked.min(PAGE_MAX) as usize)
}

/// What is opaque to clients in a marker.
pub(super) fn read_marker(marker: &str) -> Result<String, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(invalid_marker)
}

/// The key of the last item of the page before, if this is not the first page.
pub(super) fn after_marker(call: &Call) -> Result<Option<String>, ApiError> {
    call.query("Marker").map(|marker| read_marker(&marker)).transpose()
}

/// The marker after the item with this key.
pub(super) fn marker(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// A marker that no list gave out.
pub(super) fn invalid_marker() -> ApiError {
    ApiError::invalid_parameter("Invalid marker. Use the NextMarker of the page before.")
}

/// A page being filled: one item more than fits says that there are more.
#[derive(Debug)]
pub(super) struct Page<T> {
    items: Vec<T>,
    limit: usize,
}

impl<T> Page<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { items: Vec::new(), limit }
    }

    /// Whether it holds enough to be finished.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() > self.limit
    }

    /// Adds an item unless it is full.
    pub(super) fn add(&mut self, item: T) {
        if !self.is_full() {
            self.items.push(item);
        }
    }

    /// The items, and the marker of the next page if there is one.
    pub(super) fn finish(mut self, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let more = self.is_full();
        self.items.truncate(self.limit);
        let next = self.items.last().filter(|_| more).map(|item| marker(&key(item)));
        (self.items, next)
    }
}
