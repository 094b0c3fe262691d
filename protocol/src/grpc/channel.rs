//! One lazily connecting, reconnecting HTTP/2 channel to a role, and what its failures mean.

use std::error::Error;

use bytes::Bytes;
use hearth_domain::timing::{CONNECT_TIMEOUT, CONNECTION_PING_INTERVAL, CONNECTION_PING_TIMEOUT};
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Response, Status};

use super::{ANSWER_WINDOW_BYTES, ANSWERS_WINDOW_BYTES, CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use crate::Unreachable;
use crate::generated::v1 as pb;
use crate::wire::Malformed;

/// Longest text of a status, characters: at four bytes each, and in base64, well below the 16 KB of headers that HTTP/2
/// implementations take.
const HEADER_TEXT_MAX_CHARS: usize = 1024;

/// A URL that no role can be reached under.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no URL of a role: {reason}; write http://host:port")]
pub struct InvalidUrl {
    /// What was given.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The other end of an arrow.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) channel: Channel,
    /// Role and URL, for errors.
    name: String,
}

impl Peer {
    /// Never connects by itself: the first call does.
    pub(super) fn new(role: &str, url: &str) -> Result<Self, InvalidUrl> {
        Self::with_windows(role, url, STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES)
    }

    /// The same, over a connection for streamed answers alone.
    pub(super) fn for_answers(role: &str, url: &str) -> Result<Self, InvalidUrl> {
        Self::with_windows(role, url, ANSWER_WINDOW_BYTES, ANSWERS_WINDOW_BYTES)
    }

    fn with_windows(role: &str, url: &str, stream_bytes: u32, connection_bytes: u32) -> Result<Self, InvalidUrl> {
        let invalid = |reason: String| InvalidUrl { url: url.to_owned(), reason };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|source| invalid(told(&source)))?;
        if endpoint.uri().scheme_str() != Some("http") {
            return Err(invalid("its scheme is not http".into()));
        }
        if endpoint.uri().port_u16().is_none() {
            return Err(invalid("it has no port".into()));
        }
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(CONNECTION_PING_INTERVAL)
            .keep_alive_timeout(CONNECTION_PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(stream_bytes)
            .initial_connection_window_size(connection_bytes)
            .connect_lazy();
        Ok(Self { channel, name: format!("{role} at {url}") })
    }

    /// Turns the outcome of a call into a checked reply.
    pub(super) fn reply<W, T>(&self, outcome: Result<Response<W>, Status>) -> Result<T, Unreachable>
    where
        T: TryFrom<W, Error = Malformed>,
    {
        match outcome {
            Ok(reply) => self.checked(reply.into_inner()),
            Err(status) => Err(self.unreachable(&status)),
        }
    }

    /// Checks a message from the other end.
    pub(super) fn checked<W, T>(&self, message: W) -> Result<T, Unreachable>
    where
        T: TryFrom<W, Error = Malformed>,
    {
        T::try_from(message).map_err(|malformed| Unreachable::not_understood(&self.name, &malformed))
    }

    /// Turns the outcome of a call that answers nothing.
    pub(super) fn done(&self, outcome: Result<Response<pb::Done>, Status>) -> Result<(), Unreachable> {
        outcome.map(|_| ()).map_err(|status| self.unreachable(&status))
    }

    /// What a failed call means.
    pub(super) fn unreachable(&self, status: &Status) -> Unreachable {
        told_by_the_role(status).unwrap_or_else(|| Unreachable {
            role: self.name.clone(),
            reason: reason(status),
            // Only a connection that never came about is proof: one that broke may have carried the request.
            not_sent: sources(status).any(|source| source.is::<ConnectError>()),
        })
    }
}

/// How a role says that it, or a role it needs, can't be reached. It travels in headers, so its texts are cut.
pub(super) fn unavailable(unreachable: Unreachable) -> Status {
    let cut = |text: String| text.chars().take(HEADER_TEXT_MAX_CHARS).collect();
    let wire = pb::Unreachable {
        role: cut(unreachable.role),
        reason: cut(unreachable.reason),
        not_sent: unreachable.not_sent,
    };
    Status::with_details(Code::Unavailable, wire.role.clone(), Bytes::from(wire.encode_to_vec()))
}

fn told_by_the_role(status: &Status) -> Option<Unreachable> {
    if status.code() != Code::Unavailable || status.details().is_empty() {
        return None;
    }
    pb::Unreachable::decode(status.details()).ok()?.try_into().ok()
}

fn reason(status: &Status) -> String {
    let mut reason = format!("{}: {}", status.code().description(), status.message());
    // The last source is the operating system's word ("Connection refused"), which tonic's message leaves out.
    if let Some(root) = sources(status).last() {
        let root = root.to_string();
        if !reason.contains(&root) {
            reason.push_str(": ");
            reason.push_str(&root);
        }
    }
    reason
}

fn told(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn sources(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}
