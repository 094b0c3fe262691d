//! A caller that costs next to nothing, so that what is measured is not the one who measures: it sends the same bytes again
//! and again over one keep-alive connection, and reads of an answer what tells whether it is right.
//!
//! A request is signed every [`SIGNED_FOR`] and not each time. The platform checks every one of them all the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hearth_frontend::sigv4::sign;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connection::{credentials, unix_s};
use crate::phases;

/// A signature is good for five minutes.
const SIGNED_FOR: Duration = Duration::from_secs(60);
/// Longest head of an answer, bytes.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// What is called, and with what: an echo.
#[derive(Debug)]
pub struct Target {
    address: String,
    keys: (String, String),
    function: String,
    payload: Bytes,
    asks: bool,
    signed: Mutex<Option<(Instant, Arc<[u8]>)>>,
}

/// One connection to a [`Target`].
#[derive(Debug)]
pub struct Caller {
    target: Arc<Target>,
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Target {
    /// `function`, which answers `payload` with itself. With `asks`, it is asked for its phases.
    #[must_use]
    pub fn new(address: &str, keys: &(String, String), function: &str, payload: Bytes, asks: bool) -> Self {
        let (address, keys, function) = (address.to_owned(), keys.clone(), function.to_owned());
        Self { address, keys, function, payload, asks, signed: Mutex::default() }
    }

    /// Head and body.
    fn request(&self) -> Result<Arc<[u8]>> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        match &*signed {
            Some((at, request)) if at.elapsed() < SIGNED_FOR => Ok(request.clone()),
            _ => {
                let request = self.sign()?;
                *signed = Some((Instant::now(), request.clone()));
                Ok(request)
            }
        }
    }

    fn sign(&self) -> Result<Arc<[u8]>> {
        let path = format!("/2015-03-31/functions/{}/invocations", self.function);
        let uri: Uri = format!("http://{}{path}", self.address).parse()?;
        let mut headers = HeaderMap::new();
        if self.asks {
            let (name, value) = phases::ASK;
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        sign(&credentials(&self.keys), unix_s(), &Method::POST, &uri, &mut headers, &self.payload)?;
        let mut request = format!("POST {path} HTTP/1.1\r\n").into_bytes();
        for (name, value) in &headers {
            request.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        request.extend(format!("content-length: {}\r\n\r\n", self.payload.len()).into_bytes());
        request.extend_from_slice(&self.payload);
        Ok(request.into())
    }
}

impl Caller {
    /// Connects.
    pub async fn connect(target: Arc<Target>) -> Result<Self> {
        let address = &target.address;
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { target, stream, answer: Vec::with_capacity(HEAD_MAX_BYTES) })
    }

    /// One call; fails unless the payload comes back.
    pub async fn call(&mut self) -> Result<()> {
        let (head, _) = self.exchange().await?;
        let body = &self.answer[head..];
        let is_echo = body == &self.target.payload[..];
        ensure!(is_echo, "{} answered something else than what it was sent", self.target.function);
        Ok(())
    }

    /// One call of a target that asks, taken apart.
    pub async fn timed(&mut self) -> Result<phases::Call> {
        let begun = Instant::now();
        let (_, told) = self.exchange().await?;
        let whole = begun.elapsed();
        phases::Call::read(whole, &told.context("the platform tells no phases: is it older than this program?")?)
    }

    /// Sends the request and reads all of the answer. Where its body begins, and what was told of its phases.
    async fn exchange(&mut self) -> Result<(usize, Option<String>)> {
        let request = self.target.request()?;
        self.stream.write_all(&request).await?;
        self.answer.clear();
        let head = loop {
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the platform closed the connection");
            if let Some(at) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(self.answer.len() < HEAD_MAX_BYTES, "the answer's head does not end");
        };
        let Head { body, told } = Head::read(&self.answer[..head])?;
        self.answer.reserve(body);
        while self.answer.len() < head + body {
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the platform closed the connection");
        }
        Ok((head, told))
    }
}

/// What matters of an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// Length of the body, bytes.
    body: usize,
    told: Option<String>,
}

impl Head {
    fn read(head: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(head)?;
        let (mut body, mut told) = (None, None);
        let mut lines = text.lines();
        let status = lines.next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            bail!("the call was answered with {status:?}");
        }
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                body = Some(value.parse()?);
            } else if name.eq_ignore_ascii_case("x-amz-function-error") {
                bail!("the function failed: {value}");
            } else if name.eq_ignore_ascii_case(phases::TOLD) {
                told = Some(value.to_owned());
            }
        }
        Ok(Self { body: body.context("the answer has no length")?, told })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn heads_are_read_whatever_the_case_of_names() {
        let head = Head::read(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nserver-timing: admit;dur=1\r\n\r\n").unwrap();
        assert_eq!(head, Head { body: 7, told: Some("admit;dur=1".into()) });
        for wrong in [
            "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Amz-Function-Error: Unhandled\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert!(Head::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_answer_in_pieces_is_read_whole_and_compared() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = String::new();
            for answer in [
                ["HTTP/1.1 200 OK\r\ncontent-", "length: 7\r\n\r\n\"hel", "lo\""],
                ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "\"", "\""],
            ] {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                asked = String::from_utf8_lossy(&buffer[..read]).into_owned();
                for piece in answer {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            asked
        });
        let keys = ("AKIA".to_owned(), "secret".to_owned());
        let target = Target::new(&address, &keys, "echo", Bytes::from_static(b"\"hello\""), true);
        let mut caller = Caller::connect(Arc::new(target)).await.unwrap();
        caller.call().await.unwrap();
        assert!(caller.call().await.unwrap_err().to_string().contains("something else"));
        let asked = served.await.unwrap();
        assert!(
            asked.starts_with("POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\n")
                && asked.ends_with("\r\n\r\n\"hello\"")
        );
        assert!(asked.contains("x-hearth-timing: 1\r\n") && asked.contains("content-length: 7\r\n"), "{asked}");
    }
}
