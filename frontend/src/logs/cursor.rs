//! Where a reader is in a log group: for each worker the number of the last line it has seen. Opaque to clients.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearth_domain::WorkerId;

/// Most workers a cursor can name.
const WORKERS_MAX: usize = 10_000;

/// A place in a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(BTreeMap<WorkerId, u64>);

impl Cursor {
    /// The last line seen of a worker; 0 before the first.
    #[must_use]
    pub fn of(&self, worker: &WorkerId) -> u64 {
        self.0.get(worker).copied().unwrap_or(0)
    }

    /// Notes the last line seen of a worker.
    pub fn set(&mut self, worker: &WorkerId, number: u64) {
        self.0.insert(worker.clone(), number);
    }

    /// As clients keep it.
    #[must_use]
    pub fn to_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&self.0).unwrap_or_default())
    }

    /// As clients give it back; `None` for what is no cursor.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(token).ok()?;
        let numbers: BTreeMap<WorkerId, u64> = serde_json::from_slice(&json).ok()?;
        (numbers.len() <= WORKERS_MAX).then_some(Self(numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_nothing_else_is_one() {
        let mut cursor = Cursor::default();
        cursor.set(&WorkerId::new("w-1").unwrap(), 7);
        assert_eq!(Cursor::from_token(&cursor.to_token()), Some(cursor));
        assert_eq!(Cursor::from_token("x"), None);
    }
}
