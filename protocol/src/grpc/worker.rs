//! placement → worker, frontend → worker: its client, and its service over the role.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use hearth_domain::{FencingToken, SlotId};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::MESSAGE_MAX_BYTES;
use super::channel::{InvalidUrl, Peer, unavailable};
use crate::generated::v1 as pb;
use crate::generated::v1::worker_client::WorkerClient as Stub;
use crate::generated::v1::worker_server::{Worker as Service, WorkerServer};
use crate::wire::{InvokePiece, Reclaim};
use crate::worker::{
    FenceRequest, Fenced, InitDone, InitSlot, InitSlotError, InvokeError, InvokeRequest, InvokeResponse, LogDeletion,
    LogList, LogListQuery, LogPage, LogQuery, StreamPiece, StreamReceiver, StreamSender, response_stream,
};
use crate::{Unreachable, Worker};

/// A worker in another process.
#[derive(Debug, Clone)]
pub struct WorkerClient {
    peer: Peer,
    stub: Stub<Channel>,
    /// Over a connection of its own: answers that nobody takes must not fill the windows of other calls.
    streaming: Stub<Channel>,
}

impl WorkerClient {
    /// The worker at `url` (`http://host:port`). Connects on first use and again whenever needed.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let peer = Peer::new("worker", url)?;
        let stub = |peer: &Peer| {
            Stub::new(peer.channel.clone())
                .max_decoding_message_size(MESSAGE_MAX_BYTES)
                .max_encoding_message_size(MESSAGE_MAX_BYTES)
        };
        let streaming = stub(&Peer::for_answers("worker", url)?);
        Ok(Self { stub: stub(&peer), peer, streaming })
    }

    /// A handle for one call: generated stubs want `&mut self`, and cloning one copies a few pointers.
    fn stub(&self) -> Stub<Channel> {
        self.stub.clone()
    }
}

#[async_trait]
impl Worker for WorkerClient {
    async fn init_slot(&self, request: InitSlot) -> Result<InitDone, InitSlotError> {
        let outcome = self.stub().init_slot(pb::InitSlotRequest::from(request)).await;
        self.peer.reply::<_, Result<InitDone, InitSlotError>>(outcome)?
    }

    async fn invoke(&self, request: InvokeRequest) -> Result<InvokeResponse, InvokeError> {
        let outcome = self.stub().invoke(pb::InvokeRequest::from(request)).await;
        self.peer.reply::<_, Result<InvokeResponse, InvokeError>>(outcome)?
    }

    async fn invoke_streaming(
        &self,
        request: InvokeRequest,
        mut pieces: StreamSender,
    ) -> Result<InvokeResponse, InvokeError> {
        let outcome = self.streaming.clone().invoke_streaming(pb::InvokeRequest::from(request)).await;
        let mut incoming = outcome.map_err(|status| self.peer.unreachable(&status))?.into_inner();
        loop {
            let message = incoming.message().await.map_err(|status| self.peer.unreachable(&status))?;
            let Some(message) = message else {
                return Err(InvokeError::WorkerFailed { reason: "the stream broke before its end".into() });
            };
            match self.peer.checked(message)? {
                InvokePiece::Piece(piece) => pieces.send(piece).await,
                InvokePiece::End(outcome) => return *outcome,
            }
        }
    }

    async fn fence(&self, request: FenceRequest) -> Result<Fenced, Unreachable> {
        self.peer.reply(self.stub().fence(pb::FenceRequest::from(request)).await)
    }

    async fn reclaim(&self, slots: Vec<(SlotId, FencingToken)>) -> Result<(), Unreachable> {
        self.peer.done(self.stub().reclaim(pb::ReclaimRequest::from(Reclaim(slots))).await)
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, Unreachable> {
        self.peer.reply(self.stub().read_log(pb::LogQuery::from(query)).await)
    }

    async fn list_logs(&self, query: LogListQuery) -> Result<LogList, Unreachable> {
        self.peer.reply(self.stub().list_logs(pb::LogListQuery::from(query)).await)
    }

    async fn delete_log(&self, deletion: LogDeletion) -> Result<(), Unreachable> {
        self.peer.done(self.stub().delete_log(pb::LogDeletion::from(deletion)).await)
    }
}

/// The role as a gRPC service.
pub(super) fn service(role: Arc<dyn Worker>) -> WorkerServer<impl Service> {
    WorkerServer::new(Adapter(role))
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES)
}

struct Adapter(Arc<dyn Worker>);

#[async_trait]
impl Service for Adapter {
    async fn init_slot(&self, request: Request<pb::InitSlotRequest>) -> Result<Response<pb::InitSlotReply>, Status> {
        let request = request.into_inner().try_into()?;
        Ok(Response::new(self.0.init_slot(request).await.into()))
    }

    async fn invoke(&self, request: Request<pb::InvokeRequest>) -> Result<Response<pb::InvokeReply>, Status> {
        let request = request.into_inner().try_into()?;
        Ok(Response::new(self.0.invoke(request).await.into()))
    }

    type InvokeStreamingStream = BoxStream<'static, Result<pb::InvokePiece, Status>>;

    async fn invoke_streaming(
        &self,
        request: Request<pb::InvokeRequest>,
    ) -> Result<Response<Self::InvokeStreamingStream>, Status> {
        let request = request.into_inner().try_into()?;
        let (sender, receiver) = response_stream();
        let role = self.0.clone();
        let call = async move { role.invoke_streaming(request, sender).await }.boxed();
        let relay = Relay { pieces: Some(receiver), call: Some(call), outcome: None };
        Ok(Response::new(stream::unfold(relay, Relay::next).boxed()))
    }

    async fn fence(&self, request: Request<pb::FenceRequest>) -> Result<Response<pb::FenceReply>, Status> {
        let request = request.into_inner().try_into()?;
        Ok(Response::new(self.0.fence(request).await.map_err(unavailable)?.into()))
    }

    async fn reclaim(&self, request: Request<pb::ReclaimRequest>) -> Result<Response<pb::Done>, Status> {
        let Reclaim(slots) = request.into_inner().into();
        self.0.reclaim(slots).await.map_err(unavailable)?;
        Ok(Response::new(pb::Done {}))
    }

    async fn read_log(&self, request: Request<pb::LogQuery>) -> Result<Response<pb::LogPage>, Status> {
        let query = request.into_inner().try_into()?;
        Ok(Response::new(self.0.read_log(query).await.map_err(unavailable)?.into()))
    }

    async fn list_logs(&self, request: Request<pb::LogListQuery>) -> Result<Response<pb::LogList>, Status> {
        let query = request.into_inner().try_into()?;
        Ok(Response::new(self.0.list_logs(query).await.map_err(unavailable)?.into()))
    }

    async fn delete_log(&self, request: Request<pb::LogDeletion>) -> Result<Response<pb::Done>, Status> {
        let deletion = request.into_inner().try_into()?;
        self.0.delete_log(deletion).await.map_err(unavailable)?;
        Ok(Response::new(pb::Done {}))
    }
}

/// A call whose pieces go out as the connection takes them.
struct Relay {
    pieces: Option<StreamReceiver>,
    call: Option<BoxFuture<'static, Result<InvokeResponse, InvokeError>>>,
    outcome: Option<Result<InvokeResponse, InvokeError>>,
}

impl Relay {
    async fn next(mut self) -> Option<(Result<pb::InvokePiece, Status>, Self)> {
        loop {
            if self.pieces.is_none()
                && let Some(outcome) = self.outcome.take()
            {
                return Some((Ok(InvokePiece::End(Box::new(outcome)).into()), self));
            }
            tokio::select! {
                biased;
                piece = next_piece(&mut self.pieces), if self.pieces.is_some() => match piece {
                    Some(piece) => return Some((Ok(InvokePiece::Piece(piece).into()), self)),
                    None => self.pieces = None,
                },
                outcome = finished(&mut self.call), if self.call.is_some() => {
                    self.call = None;
                    self.outcome = Some(outcome);
                }
                else => return None,
            }
        }
    }
}

async fn next_piece(pieces: &mut Option<StreamReceiver>) -> Option<StreamPiece> {
    pieces.as_mut()?.next().await
}

async fn finished(
    call: &mut Option<BoxFuture<'static, Result<InvokeResponse, InvokeError>>>,
) -> Result<InvokeResponse, InvokeError> {
    match call {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}
