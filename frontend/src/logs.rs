//! Log groups, as CloudWatch Logs shows them, decided from what workers keep: merging of pages, filter patterns, tokens;
//! and what is known of a group besides its lines, as a document.
//!
//! Absent on purpose: HTTP and the asking of workers, which are `api::logs`'.

pub mod cursor;
pub mod merge;
pub mod pattern;

use hearth_domain::{AccountId, LogGroup};
use hearth_store::Document;
use serde::{Deserialize, Serialize};

/// Days that `PutRetentionPolicy` allows (service model of CloudWatch Logs: `Days`).
pub const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
const DAY_MS: u64 = 86_400_000;

/// What was said about a log group. One that functions write to and nobody spoke of has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// When it was created, Unix milliseconds.
    pub created_unix_ms: u64,
    /// `retentionInDays`: older lines are not shown any more.
    pub retention_days: Option<u32>,
}

impl Document for GroupSettings {
    const KIND: &'static str = "log-group";
}

impl GroupSettings {
    /// Where the settings of a group lie.
    #[must_use]
    pub fn path(account: &AccountId, group: &LogGroup) -> String {
        // Segments of paths are joined by slashes, and so are those of groups.
        format!("{account}/{}", group.as_str().replace('/', "@"))
    }

    /// The group whose settings lie at a path.
    #[must_use]
    pub fn group_at(path: &str) -> Option<LogGroup> {
        LogGroup::new(&path.split_once('/')?.1.replace('@', "/")).ok()
    }

    /// The oldest moment that is still shown, Unix milliseconds.
    #[must_use]
    pub fn oldest_unix_ms(&self, now_unix_ms: u64) -> u64 {
        self.retention_days.map_or(0, |days| now_unix_ms.saturating_sub(u64::from(days) * DAY_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lie_where_they_are_found() {
        let (account, group) = (AccountId::new("000000000000").unwrap(), LogGroup::new("/aws/lambda/a").unwrap());
        let path = GroupSettings::path(&account, &group);
        assert_eq!(path, "000000000000/@aws@lambda@a");
        assert_eq!(GroupSettings::group_at(&path), Some(group));
    }

    #[test]
    fn retention_hides_what_is_older() {
        let of = |retention_days| GroupSettings { created_unix_ms: 0, retention_days }.oldest_unix_ms(10 * DAY_MS);
        assert_eq!((of(None), of(Some(3)), of(Some(30))), (0, 7 * DAY_MS, 0));
    }
}
