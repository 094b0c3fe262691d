//! Requests and replies that are plain collections in the traits and messages of their own on the wire.

use hearth_domain::{FencingToken, HolderId, SlotId};

use super::shared::{lease_keys, leases};
use super::{Malformed, each, parsed};
use crate::generated::v1 as pb;
use crate::placement::{FleetWorker, Grant};

/// The slots of a Reclaim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reclaim(pub(crate) Vec<(SlotId, FencingToken)>);

impl From<Reclaim> for pb::ReclaimRequest {
    fn from(Reclaim(slots): Reclaim) -> Self {
        Self { slots: lease_keys(slots) }
    }
}

impl From<pb::ReclaimRequest> for Reclaim {
    fn from(wire: pb::ReclaimRequest) -> Self {
        Self(leases(wire.slots))
    }
}

/// Who asks for a Recover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recover(pub(crate) HolderId);

impl From<Recover> for pb::RecoverRequest {
    fn from(Recover(holder): Recover) -> Self {
        Self { holder: holder.to_string() }
    }
}

impl TryFrom<pb::RecoverRequest> for Recover {
    type Error = Malformed;

    fn try_from(wire: pb::RecoverRequest) -> Result<Self, Malformed> {
        parsed("holder", &wire.holder).map(Self)
    }
}

/// What a Recover gives back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grants(pub(crate) Vec<Grant>);

impl From<Grants> for pb::RecoverReply {
    fn from(Grants(grants): Grants) -> Self {
        Self { grants: grants.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<pb::RecoverReply> for Grants {
    type Error = Malformed;

    fn try_from(wire: pb::RecoverReply) -> Result<Self, Malformed> {
        each("grants", wire.grants).map(Self)
    }
}

/// The fleet as placement sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Workers(pub(crate) Vec<FleetWorker>);

impl From<Workers> for pb::PlacementFleetReply {
    fn from(Workers(workers): Workers) -> Self {
        Self { workers: workers.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<pb::PlacementFleetReply> for Workers {
    type Error = Malformed;

    fn try_from(wire: pb::PlacementFleetReply) -> Result<Self, Malformed> {
        each("workers", wire.workers).map(Self)
    }
}
