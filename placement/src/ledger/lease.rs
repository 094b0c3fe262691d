//! Renewing, releasing and outliving leases.

use hearth_domain::{FencingToken, HolderId, Lease, Moment, SlotId};
use hearth_protocol::placement::{ReleaseRequest, RenewRequest, RenewResponse};

use super::slot::{Phase, Slot};
use super::{Deadline, Ledger, Outbox};

/// The ledger has just started and can't tell yet whether an unknown lease is good. Ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("placement has just started and still hears from its workers")]
pub struct Settling;

impl Ledger {
    /// A holder renews leases. Each that is still its own is counted anew from now, which is when the answer goes out.
    /// That includes one whose time is over but whose slot was not reclaimed yet: it is nobody else's.
    pub fn on_renew(&mut self, now: Moment, request: &RenewRequest) -> Result<RenewResponse, Settling> {
        let unknown = |(slot, _): &(SlotId, FencingToken)| !self.slots.contains_key(slot);
        if !self.settled && request.leases.iter().any(unknown) {
            return Err(Settling);
        }
        let mut held_mb = 0;
        let mut renewed = Vec::with_capacity(request.leases.len());
        for &(id, token) in &request.leases {
            let slot = self.slots.get_mut(&id);
            let Some((lease, slot)) = slot.and_then(|slot| Some((slot.lease(token, &request.holder)?, slot))) else {
                renewed.push(None);
                continue;
            };
            let lease = lease.renewed(self.config.terms, now);
            held_mb += slot.need.memory_mb;
            slot.phase = Phase::Leased(lease);
            self.agenda.set(Deadline::Lease(id), lease.gone_at());
            renewed.push(Some(lease.terms));
        }
        Ok(RenewResponse { renewed, give_back_mb: self.demand.ask(now, &request.holder, held_mb) })
    }

    /// A holder gives leases back: their slots end at once. What is not its own, or unknown, is passed over; before the ledger
    /// has settled, something unknown makes it ask again.
    pub fn on_release(&mut self, request: &ReleaseRequest, out: &mut impl Outbox) -> Result<(), Settling> {
        let mut unknown = false;
        for &(id, token) in &request.leases {
            unknown |= !self.slots.contains_key(&id);
            if self.slots.get(&id).is_some_and(|slot| slot.lease(token, &request.holder).is_some()) {
                self.end_slot(id, out);
            }
        }
        if unknown && !self.settled { Err(Settling) } else { Ok(()) }
    }

    /// A lease's time is over and it was not renewed.
    pub(super) fn lease_gone(&mut self, id: SlotId, out: &mut impl Outbox) {
        if self.slots.get(&id).is_some_and(|slot| matches!(slot.phase, Phase::Leased(_))) {
            self.end_slot(id, out);
        }
    }
}

impl Slot {
    /// Its lease, if it is this one and can still be used.
    fn lease(&self, token: FencingToken, holder: &HolderId) -> Option<Lease> {
        match self.phase {
            Phase::Leased(lease) if self.token == token && self.holder == *holder && !self.draining() => Some(lease),
            _ => None,
        }
    }
}
