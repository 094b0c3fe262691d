//! Slots that were wanted and could not be had: the reason to ask other holders for memory.

use std::collections::VecDeque;

use hearth_domain::{HolderId, Moment};

use super::limits::{UNMET_MAX, UNMET_REMEMBERED};

/// Refused slots of the last while, oldest first.
#[derive(Debug, Default)]
pub(super) struct Demand {
    unmet: VecDeque<Unmet>,
}

#[derive(Debug)]
struct Unmet {
    holder: HolderId,
    mb: u64,
    at: Moment,
}

impl Demand {
    /// `holder` could not get a slot of `mb`.
    pub(super) fn refused(&mut self, now: Moment, holder: &HolderId, mb: u64) {
        self.forget_old(now);
        if self.unmet.len() == UNMET_MAX {
            self.unmet.pop_front();
        }
        self.unmet.push_back(Unmet { holder: holder.clone(), mb, at: now });
    }

    /// What `holder` is asked to give back: what others lack, at most `held_mb`. Asked for once only. Its own lack is not
    /// counted: it knows of that and gives up idle slots by itself.
    pub(super) fn ask(&mut self, now: Moment, holder: &HolderId, held_mb: u64) -> u64 {
        self.forget_old(now);
        let mut asked = 0;
        self.unmet.retain(|unmet| {
            let take = unmet.holder != *holder && asked < held_mb;
            if take {
                asked += unmet.mb;
            }
            !take
        });
        asked.min(held_mb)
    }

    fn forget_old(&mut self, now: Moment) {
        while self.unmet.front().is_some_and(|unmet| now.since(unmet.at) > UNMET_REMEMBERED) {
            self.unmet.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.unmet.len()
    }
}
