//! The client of the public API: signs, sends, and turns error replies into failures that say what to do.
//!
//! One connection a request: commands make few, and an idle connection could have been closed meanwhile.

mod failure;
mod path;
mod upload;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hearth_frontend::sigv4;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::connection::Connection;
use crate::exit::{Exit, Failure};

pub(crate) use path::encoded;
pub(crate) use upload::Progress;

/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest reply, bytes: the largest response payload, and room.
const REPLY_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Speaks to one platform.
#[derive(Debug)]
pub(crate) struct Api {
    connection: Connection,
}

/// One request, before it is signed.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    progress: Progress,
}

/// A reply that is no error.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// `path` with its query; parameters in it already [`encoded`].
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let path = path.into();
        Self { method, path, headers: HeaderMap::new(), body: Bytes::new(), progress: Progress::none() }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sends a JSON document.
    pub(crate) fn json(self, document: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(document.to_string())
    }

    /// Tells how much of the body was sent.
    pub(crate) fn progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }
}

impl Reply {
    /// The body as a JSON document.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("the reply is not what this hearth understands: {error}");
            Failure::new(Exit::Unavailable, message).remedy("is --endpoint a Hearth platform of this version?")
        })
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Api {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Sends a request; an error reply is a [`Failure`].
    pub(crate) async fn call(&self, call: Call) -> Result<Reply, Failure> {
        let reply = self.send(call).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(failure::of_reply(&reply)) }
    }

    /// The same, with 404 for an answer rather than a failure.
    pub(crate) async fn find(&self, call: Call) -> Result<Option<Reply>, Failure> {
        let reply = self.send(call).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(reply)),
            _ => Err(failure::of_reply(&reply)),
        }
    }

    async fn send(&self, call: Call) -> Result<Reply, Failure> {
        let endpoint = self.connection.endpoint.trim_end_matches('/');
        let uri: Uri = format!("{endpoint}{}", call.path).parse().map_err(|_| failure::bad_endpoint(endpoint))?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
        let authority = authority.ok_or_else(|| failure::bad_endpoint(endpoint))?;
        let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
        let request = self.signed(call, &uri)?;
        let unreachable = |problem: String| failure::unreachable(endpoint, &problem);

        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = connecting.map_err(|_| unreachable(format!("no answer within {CONNECT_TIMEOUT:?}")))?;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| unreachable(error.to_string()))?;
        // Its errors reach us through the request, too.
        let driver = tokio::spawn(connection);
        let reply = sender.send_request(request).await.map_err(|error| unreachable(failure::told(&error)))?;
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, REPLY_MAX_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(format!("the reply was cut: {error}")))?.to_bytes();
        driver.abort();
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    fn signed(&self, call: Call, uri: &Uri) -> Result<Request<upload::Upload>, Failure> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unix_s = i64::try_from(since_epoch).unwrap_or(i64::MAX);
        let mut headers = call.headers;
        sigv4::sign(&self.connection.credentials, unix_s, &call.method, uri, &mut headers, &call.body)
            .map_err(|error| Failure::usage(format!("the request can't be signed: {error}")))?;
        let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut request = Request::new(upload::Upload::new(call.body, call.progress));
        *request.method_mut() = call.method;
        *request.uri_mut() = target.parse().map_err(|_| failure::bad_endpoint(&uri.to_string()))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}
