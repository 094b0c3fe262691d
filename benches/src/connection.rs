//! One keep-alive HTTP/1.1 connection, with requests signed as an AWS SDK signs them.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hearth_frontend::sigv4::{Credentials, sign};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection to one server.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
    credentials: Option<Credentials>,
}

impl Connection {
    /// Connects; with `keys`, every request is signed.
    pub async fn open(address: &str, keys: Option<(String, String)>) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let credentials = keys.map(|(key_id, secret)| Credentials {
            key_id,
            secret,
            session_token: None,
            region: "us-east-1".into(),
        });
        Ok(Self { sender, address: address.to_owned(), credentials })
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Response<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address).body(body)?;
        if let Some(credentials) = &self.credentials {
            let uri = format!("http://{}{path}", self.address).parse()?;
            let (method, body) = (request.method().clone(), request.body().clone());
            sign(credentials, unix_s(), &method, &uri, request.headers_mut(), &body)?;
        }
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request.map(Full::new)).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Invokes a function and checks that it answered `expected`.
    pub async fn invoke(&mut self, name: &str, payload: &Bytes, expected: &Bytes) -> Result<()> {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let answer = self.send(Method::POST, &path, payload.clone()).await?;
        if !answer.status().is_success()
            || answer.headers().contains_key("x-amz-function-error")
            || answer.body() != expected
        {
            bail!("invoking {name}: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
        }
        Ok(())
    }
}

fn unix_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
