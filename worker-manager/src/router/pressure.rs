//! Making room: idle slots go when calls wait for capacity, here or elsewhere.
//!
//! A function that was refused asks for the memory of the slots it was refused. Idle slots are released for it, the
//! one unused longest first, whatever function they belong to (an idle slot never belongs to a function that waits);
//! and while it still misses some, each slot that turns idle goes at once. A call that waits is worth more than a
//! warm slot that nobody needs now, and the function that waits next will get its turn in the same way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hearth_domain::Moment;

use super::Router;
use super::function::FunctionIndex;

impl Router {
    /// Releases idle slots for what placement asked back and for what starving functions miss.
    pub(super) fn make_room(&mut self, now: Moment) {
        let missing = self.missing_mb();
        let wanted = missing.max(std::mem::take(&mut self.give_back_mb));
        if wanted > 0 {
            let freed = self.release_oldest(now, wanted);
            self.share_out(now, freed);
        }
    }

    /// What starving functions miss. Whoever was served or gave up meanwhile misses nothing any more.
    fn missing_mb(&mut self) -> u64 {
        let functions = &mut self.functions;
        let mut missing = 0;
        self.starving.retain(|index| {
            let function = &mut functions[*index];
            let needed = function.memory_mb() * function.unprovided() as u64;
            function.unmet_mb = function.unmet_mb.min(needed);
            missing += function.unmet_mb;
            function.unmet_mb > 0
        });
        missing
    }

    /// Releases the slots that have been idle longest until `wanted_mb` are free or none is left; tells how much is.
    fn release_oldest(&mut self, now: Moment, wanted_mb: u64) -> u64 {
        let front = |(index, function): (FunctionIndex, &super::Function)| {
            function.idle.front().map(|(since, id)| Reverse((*since, *id, index)))
        };
        let mut oldest: BinaryHeap<_> = self.functions.iter().filter_map(front).collect();
        let mut freed = 0;
        while freed < wanted_mb {
            let Some(Reverse((_, id, index))) = oldest.pop() else { break };
            let function = &mut self.functions[index];
            freed += function.memory_mb();
            function.idle.pop_front();
            oldest.extend(function.idle.front().map(|(since, next)| Reverse((*since, *next, index))));
            self.stats.made_room += 1;
            self.release(now, id);
        }
        freed
    }

    /// Gives freed memory to the starving functions, the one whose head has waited longest first. Who got all it
    /// missed claims again soon: the released slots need a moment to end.
    fn share_out(&mut self, now: Moment, mut freed_mb: u64) {
        let mut in_turn: Vec<_> = self.starving.iter().copied().collect();
        in_turn.sort_by_key(|index| self.functions[*index].waiters.first_key_value().map(|(place, _)| *place));
        for index in in_turn {
            let function = &mut self.functions[index];
            let share = function.unmet_mb.min(freed_mb);
            freed_mb -= share;
            function.unmet_mb -= share;
            if function.unmet_mb == 0 {
                self.starving.remove(&index);
            }
            if share > 0 {
                function.backoff.hurry(now + self.config.claim_retry_min);
                self.unsettle(now, index);
            }
        }
    }
}
