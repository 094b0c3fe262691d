//! frontend → worker manager: its client, and its service over the role.

use std::sync::Arc;

use async_trait::async_trait;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::MESSAGE_MAX_BYTES;
use super::channel::{InvalidUrl, Peer, unavailable};
use crate::generated::v1 as pb;
use crate::generated::v1::worker_manager_client::WorkerManagerClient as Stub;
use crate::generated::v1::worker_manager_server::{WorkerManager as Service, WorkerManagerServer};
use crate::worker_manager::{
    Completion, Fleet, Provision, ProvisionReport, Reservation, ReserveError, ReserveRequest, RetireRequest,
};
use crate::{Unreachable, WorkerManager};

/// A worker manager in another process.
#[derive(Debug, Clone)]
pub struct WorkerManagerClient {
    peer: Peer,
    stub: Stub<Channel>,
}

impl WorkerManagerClient {
    /// The worker manager at `url` (`http://host:port`). Connects on first use and again whenever needed.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let peer = Peer::new("worker manager", url)?;
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
impl WorkerManager for WorkerManagerClient {
    async fn reserve(&self, request: ReserveRequest) -> Result<Reservation, ReserveError> {
        let outcome = self.stub().reserve(pb::ReserveRequest::from(request)).await;
        self.peer.reply::<_, Result<Reservation, ReserveError>>(outcome)?
    }

    async fn complete(&self, completion: Completion) -> Result<(), Unreachable> {
        self.peer.done(self.stub().complete(pb::Completion::from(completion)).await)
    }

    async fn retire(&self, request: RetireRequest) -> Result<(), Unreachable> {
        self.peer.done(self.stub().retire(pb::RetireRequest::from(request)).await)
    }

    async fn provision(&self, provision: Provision) -> Result<ProvisionReport, Unreachable> {
        self.peer.reply(self.stub().provision(pb::ProvisionRequest::from(provision)).await)
    }

    async fn fleet(&self) -> Result<Fleet, Unreachable> {
        self.peer.reply(self.stub().fleet(pb::FleetRequest {}).await)
    }
}

/// The role as a gRPC service.
pub(super) fn service(role: Arc<dyn WorkerManager>) -> WorkerManagerServer<impl Service> {
    WorkerManagerServer::new(Adapter(role))
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES)
}

struct Adapter(Arc<dyn WorkerManager>);

#[async_trait]
impl Service for Adapter {
    async fn reserve(&self, request: Request<pb::ReserveRequest>) -> Result<Response<pb::ReserveReply>, Status> {
        let request = request.into_inner().try_into()?;
        Ok(Response::new(self.0.reserve(request).await.into()))
    }

    async fn complete(&self, request: Request<pb::Completion>) -> Result<Response<pb::Done>, Status> {
        let completion = request.into_inner().try_into()?;
        self.0.complete(completion).await.map_err(unavailable)?;
        Ok(Response::new(pb::Done {}))
    }

    async fn retire(&self, request: Request<pb::RetireRequest>) -> Result<Response<pb::Done>, Status> {
        let request = request.into_inner().try_into()?;
        self.0.retire(request).await.map_err(unavailable)?;
        Ok(Response::new(pb::Done {}))
    }

    async fn provision(&self, request: Request<pb::ProvisionRequest>) -> Result<Response<pb::ProvisionReply>, Status> {
        let provision = request.into_inner().try_into()?;
        Ok(Response::new(self.0.provision(provision).await.map_err(unavailable)?.into()))
    }

    async fn fleet(&self, _: Request<pb::FleetRequest>) -> Result<Response<pb::FleetReply>, Status> {
        Ok(Response::new(self.0.fleet().await.map_err(unavailable)?.into()))
    }
}
