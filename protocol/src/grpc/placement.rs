//! worker manager → placement, worker → placement: its client, and its service over the role.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, future};
use hearth_domain::HolderId;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::MESSAGE_MAX_BYTES;
use super::channel::{InvalidUrl, Peer, unavailable};
use crate::generated::v1 as pb;
use crate::generated::v1::placement_client::PlacementClient as Stub;
use crate::generated::v1::placement_server::{Placement as Service, PlacementServer};
use crate::placement::{
    ClaimOutcome, ClaimRequest, FleetWorker, Grant, ReleaseRequest, RenewRequest, RenewResponse, ReportAck,
    WorkerReport,
};
use crate::wire::{Grants, Recover, Workers};
use crate::{Placement, Unreachable};

/// Placement in another process.
#[derive(Debug, Clone)]
pub struct PlacementClient {
    peer: Peer,
    stub: Stub<Channel>,
}

impl PlacementClient {
    /// Placement at `url` (`http://host:port`). Connects on first use and again whenever needed.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let peer = Peer::new("placement", url)?;
        let stub = Stub::new(peer.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES);
        Ok(Self { peer, stub })
    }

    /// A handle for one call: generated stubs want `&mut self`, and cloning one copies a few pointers.
    fn stub(&self) -> Stub<Channel> {
        self.stub.clone()
    }
}

#[async_trait]
impl Placement for PlacementClient {
    async fn claim(&self, request: ClaimRequest) -> Result<BoxStream<'static, ClaimOutcome>, Unreachable> {
        let outcome = self.stub().claim(pb::ClaimRequest::from(request)).await;
        let stream = outcome.map_err(|status| self.peer.unreachable(&status))?.into_inner();
        let peer = self.peer.clone();
        // A stream that breaks, or says what can't be understood, ends: fewer outcomes than slots mean it was cut.
        let outcomes = stream.map(move |message| {
            let checked = message.map_err(|status| peer.unreachable(&status)).and_then(|wire| peer.checked(wire));
            checked.inspect_err(|error| tracing::warn!(%error, "a claim's answers were cut")).ok()
        });
        Ok(outcomes.take_while(|outcome| future::ready(outcome.is_some())).filter_map(future::ready).boxed())
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, Unreachable> {
        self.peer.reply(self.stub().renew(pb::RenewRequest::from(request)).await)
    }

    async fn release(&self, request: ReleaseRequest) -> Result<(), Unreachable> {
        self.peer.done(self.stub().release(pb::ReleaseRequest::from(request)).await)
    }

    async fn recover(&self, holder: HolderId) -> Result<Vec<Grant>, Unreachable> {
        let outcome = self.stub().recover(pb::RecoverRequest::from(Recover(holder))).await;
        self.peer.reply(outcome).map(|Grants(grants)| grants)
    }

    async fn report(&self, report: WorkerReport) -> Result<ReportAck, Unreachable> {
        self.peer.reply(self.stub().report(pb::WorkerReport::from(report)).await)
    }

    async fn fleet(&self) -> Result<Vec<FleetWorker>, Unreachable> {
        let outcome = self.stub().fleet(pb::PlacementFleetRequest {}).await;
        self.peer.reply(outcome).map(|Workers(workers)| workers)
    }
}

/// The role as a gRPC service.
pub(super) fn service(role: Arc<dyn Placement>) -> PlacementServer<impl Service> {
    PlacementServer::new(Adapter(role))
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES)
}

struct Adapter(Arc<dyn Placement>);

#[async_trait]
impl Service for Adapter {
    type ClaimStream = BoxStream<'static, Result<pb::ClaimOutcome, Status>>;

    async fn claim(&self, request: Request<pb::ClaimRequest>) -> Result<Response<Self::ClaimStream>, Status> {
        let request = request.into_inner().try_into()?;
        let outcomes = self.0.claim(request).await.map_err(unavailable)?;
        Ok(Response::new(outcomes.map(|outcome| Ok(outcome.into())).boxed()))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewReply>, Status> {
        let request = request.into_inner().try_into()?;
        Ok(Response::new(self.0.renew(request).await.map_err(unavailable)?.into()))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::Done>, Status> {
        let request = request.into_inner().try_into()?;
        self.0.release(request).await.map_err(unavailable)?;
        Ok(Response::new(pb::Done {}))
    }

    async fn recover(&self, request: Request<pb::RecoverRequest>) -> Result<Response<pb::RecoverReply>, Status> {
        let Recover(holder) = request.into_inner().try_into()?;
        Ok(Response::new(Grants(self.0.recover(holder).await.map_err(unavailable)?).into()))
    }

    async fn report(&self, request: Request<pb::WorkerReport>) -> Result<Response<pb::ReportAck>, Status> {
        let report = request.into_inner().try_into()?;
        Ok(Response::new(self.0.report(report).await.map_err(unavailable)?.into()))
    }

    async fn fleet(&self, _: Request<pb::PlacementFleetRequest>) -> Result<Response<pb::PlacementFleetReply>, Status> {
        Ok(Response::new(Workers(self.0.fleet().await.map_err(unavailable)?).into()))
    }
}
