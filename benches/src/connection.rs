//! One keep-alive HTTP/1.1 connection, with requests signed as an AWS SDK signs them.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hearth_frontend::sigv4::{Credentials, sign};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::phases;

/// A connection to one server.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
    credentials: Option<Credentials>,
}

impl Connection {
    /// Connects; with `keys`, every request is signed.
    pub async fn open(address: &str, keys: Option<(String, String)>) -> Result<Self> {
        let sender = connect(address).await?;
        let credentials = keys.as_ref().map(credentials);
        Ok(Self { sender, address: address.to_owned(), credentials })
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Response<Bytes>> {
        self.send_with(method, path, &[], body).await
    }

    /// The same with more headers.
    pub async fn send_with(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body)?;
        if self.sender.is_closed() {
            // A server need not keep an idle connection.
            self.sender = connect(&self.address).await?;
        }
        if let Some(credentials) = &self.credentials {
            let uri = format!("http://{}{path}", self.address).parse()?;
            let (method, body) = (request.method().clone(), request.body().clone());
            sign(credentials, unix_s(), &method, &uri, request.headers_mut(), &body)?;
        }
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request.map(Full::new)).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Invokes an echo and takes the call apart.
    pub async fn timed(&mut self, name: &str, payload: &Bytes) -> Result<phases::Call> {
        let begun = Instant::now();
        let answer = self.send_with(Method::POST, &invocations(name), &[phases::ASK], payload.clone()).await?;
        let whole = begun.elapsed();
        check(name, &answer, payload)?;
        let told = answer.headers().get(phases::TOLD).and_then(|told| told.to_str().ok());
        phases::Call::read(whole, told.context("the platform tells no phases: is it older than this program?")?)
    }

    /// Invokes a function and checks that it answered `expected`.
    pub async fn invoke(&mut self, name: &str, payload: &Bytes, expected: &Bytes) -> Result<()> {
        let answer = self.send(Method::POST, &invocations(name), payload.clone()).await?;
        check(name, &answer, expected)
    }
}

fn invocations(name: &str) -> String {
    format!("/2015-03-31/functions/{name}/invocations")
}

fn check(name: &str, answer: &Response<Bytes>, expected: &Bytes) -> Result<()> {
    if !answer.status().is_success()
        || answer.headers().contains_key("x-amz-function-error")
        || answer.body() != expected
    {
        bail!("invoking {name}: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    Ok(())
}

/// What signs with these keys.
pub(crate) fn credentials((key_id, secret): &(String, String)) -> Credentials {
    let (key_id, secret) = (key_id.clone(), secret.clone());
    Credentials { key_id, secret, session_token: None, region: "us-east-1".into() }
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

pub(crate) fn unix_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
