//! Leases are renewed before they run out, and slots without one are not used.

use hearth_domain::{FencingToken, LeaseTerms, Moment, SlotId};
use hearth_protocol::placement::RenewResponse;

use crate::leases::Renewal;

use super::slot::SlotPlace;
use super::{Alarm, Outbox, Router};

impl Router {
    /// Placement answered a renewal. Late and doubled answers do no harm: a lease only moves forward, and what is
    /// not ours any more never becomes ours again under the same token.
    pub fn on_renewed(&mut self, now: Moment, renewal: &Renewal, answer: &RenewResponse, outbox: &mut impl Outbox) {
        for ((id, token), terms) in renewal.leases.iter().zip(&answer.renewed) {
            match terms {
                Some(terms) => self.on_lease_renewed(now, *id, *token, renewal.sent_at, *terms, outbox),
                None => self.on_lease_lost(now, *id, *token),
            }
        }
        if answer.give_back_mb > 0 {
            self.give_back_mb = self.give_back_mb.max(answer.give_back_mb);
            self.end_turn(now);
        }
    }

    /// Every lease that is due now, those due soon with them, in as few messages as allowed.
    pub(super) fn send_renewals(&mut self, now: Moment, mut due: Vec<SlotId>, outbox: &mut impl Outbox) {
        if due.is_empty() {
            return;
        }
        let soon = now + self.config.renew_together;
        due.extend(self.alarms.until(soon).filter_map(|alarm| match alarm {
            Alarm::Slot(id) => Some(id),
            Alarm::Waiter(_) | Alarm::Function(_) | Alarm::Claim(_) => None,
        }));
        let mut leases = Vec::with_capacity(due.len());
        for id in due {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let lost = slot.busy().is_some_and(|busy| busy.lost);
            if !lost && slot.lease.renew_at(self.config.renew_retry) <= soon {
                slot.lease.on_asked(now);
                leases.push((id, slot.lease.token()));
            }
            let deadline = slot.deadline(&self.config);
            self.alarms.arm(Alarm::Slot(id), &mut slot.armed, deadline);
        }
        for batch in leases.chunks(self.config.max_renew_count) {
            self.stats.renewals += batch.len() as u64;
            outbox.renew(Renewal { sent_at: now, leases: batch.to_vec() });
        }
    }

    pub(super) fn arm_slot(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            let deadline = slot.deadline(&self.config);
            self.alarms.arm(Alarm::Slot(id), &mut slot.armed, deadline);
        }
    }

    fn on_lease_renewed(
        &mut self,
        now: Moment,
        id: SlotId,
        token: FencingToken,
        sent_at: Moment,
        terms: LeaseTerms,
        outbox: &mut impl Outbox,
    ) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.lease.token() != token || !slot.lease.on_renewed(sent_at, terms) {
            return;
        }
        let refreshed = slot.place == SlotPlace::Refreshing && slot.lease.usable(now);
        let deadline = slot.deadline(&self.config);
        self.alarms.arm(Alarm::Slot(id), &mut slot.armed, deadline);
        if refreshed {
            self.take_out(id);
            self.make_available(now, id, outbox);
        }
    }

    fn on_lease_lost(&mut self, now: Moment, id: SlotId, token: FencingToken) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.lease.token() != token {
            return;
        }
        if let SlotPlace::Busy(busy) = &mut slot.place {
            if !busy.lost {
                busy.lost = true;
                self.stats.leases_lost += 1;
            }
            return;
        }
        self.stats.leases_lost += 1;
        self.take_out(id);
        self.drop_slot(now, id);
    }
}
