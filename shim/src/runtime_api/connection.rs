//! One connection of the runtime: heads and bodies in, answers out.
//!
//! Written for what the Runtime API is: one client that is trusted with nothing, asks little at a time, and for whose
//! next request everybody waits. So it costs one read for a request and one write for an answer, and where the client has
//! sent its next request for an invocation behind an answer (HTTP/1.1 allows that, RFC 9112, 9.3.2), that answer's
//! acknowledgement goes out together with the invocation: one wakeup of the runtime less.
//!
//! Invariants: heads are bounded, bodies are handed on as they come and never gathered here; at most
//! [`AHEAD_MAX_BYTES`] are read of what nobody waits for.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answers::Answer;
use super::head::{Framing, Head, Malformed};

/// Room for one read.
const READ_BYTES: usize = 8 * 1024;
/// Room for one read within a long body.
const READ_LONG_BYTES: usize = 64 * 1024;
/// Most that is read while an answer is awaited: a request or two.
const AHEAD_MAX_BYTES: usize = 64 * 1024;
/// Answers up to this size are copied behind their heads, to be sent in one piece.
const JOINED_MAX_BYTES: usize = 16 * 1024;
/// What is read of a body that nobody wanted, so that the client hears why. Above it the connection is closed.
const DISCARD_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Longest line of a chunk's size, and most of a body's trailers.
const TRAILERS_MAX_BYTES: usize = 64 * 1024;
/// Most trailer fields.
const TRAILERS_MAX: usize = 16;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    body: Body,
    /// A word of encouragement is due before the body is read.
    continues: bool,
}

/// What is still to come of the body under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    /// The size of the next chunk.
    ChunkSize,
    /// The rest of a chunk.
    Chunk(u64),
    /// The line feed behind a chunk.
    ChunkEnd,
    Trailers,
    Over,
}

/// What comes of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes, at least one.
    Data(Bytes),
    /// What stands behind the last chunk: names as they came, and values.
    Trailers(Vec<(String, String)>),
}

/// The connection is of no more use.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended, or failed.
    Gone,
    /// What came is not HTTP, and this was said.
    Malformed(Malformed),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        // Whoever is at the other end knows more about it than could be said here.
        Self::Gone
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Small writes are awaited: Nagle would only hold them back.
        let _ = stream.set_nodelay(true);
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), body: Body::Over, continues: false }
    }

    /// The head of the next request; `None` at the end of the connection.
    pub(super) async fn head(&mut self) -> Result<Option<Head>, Broken> {
        loop {
            if let Some(head) = Head::take(&mut self.input).map_err(Broken::Malformed)? {
                self.body = match head.framing {
                    Framing::Length(0) => Body::Over,
                    Framing::Length(length) => Body::Length(length),
                    Framing::Chunked => Body::ChunkSize,
                };
                self.continues = head.expects_continue && self.body != Body::Over;
                return Ok(Some(head));
            }
            self.flush().await?;
            if self.read(READ_BYTES).await? == 0 {
                return if self.input.is_empty() { Ok(None) } else { Err(Broken::Gone) };
            }
        }
    }

    /// What comes next of the body; `None` at its end. Not to be cancelled.
    pub(super) async fn piece(&mut self) -> Result<Option<Piece>, Broken> {
        loop {
            match self.body {
                Body::Over => return Ok(None),
                Body::Length(left) | Body::Chunk(left) if !self.input.is_empty() => {
                    let data = self.input.split_to(self.input.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    let left = left - data.len() as u64;
                    self.body = match self.body {
                        Body::Length(_) if left == 0 => Body::Over,
                        Body::Length(_) => Body::Length(left),
                        _ if left == 0 => Body::ChunkEnd,
                        _ => Body::Chunk(left),
                    };
                    return Ok(Some(Piece::Data(data.freeze())));
                }
                Body::ChunkSize => {
                    if self.take_chunk_size()? {
                        continue;
                    }
                }
                Body::ChunkEnd if self.input.len() >= 2 => {
                    if *self.input.split_to(2) != *b"\r\n" {
                        return Err(Broken::Malformed(Malformed::Syntax));
                    }
                    self.body = Body::ChunkSize;
                    continue;
                }
                Body::Trailers => {
                    if let Some(trailers) = self.take_trailers()? {
                        self.body = Body::Over;
                        return Ok((!trailers.is_empty()).then_some(Piece::Trailers(trailers)));
                    }
                }
                Body::Length(_) | Body::Chunk(_) | Body::ChunkEnd => {}
            }
            self.encourage().await?;
            let room = match self.body {
                Body::Length(left) | Body::Chunk(left) if left > READ_BYTES as u64 => READ_LONG_BYTES,
                _ => READ_BYTES,
            };
            if self.read(room).await? == 0 {
                return Err(Broken::Gone);
            }
        }
    }

    /// Resolves when the client has hung up. Safe to cancel.
    pub(super) async fn hung_up(&mut self) {
        while self.input.len() < AHEAD_MAX_BYTES {
            if !matches!(self.read(READ_BYTES).await, Ok(1..)) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Writes an answer down. It is sent by [`Self::flush`], or at once if it is long.
    pub(super) async fn answer(&mut self, answer: Answer, keeps_alive: bool) -> Result<(), Broken> {
        answer.write_head(keeps_alive, &mut self.output);
        if answer.body.len() <= JOINED_MAX_BYTES {
            self.output.extend_from_slice(&answer.body);
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.output).chain(answer.body);
        Ok(self.stream.write_all_buf(&mut whole).await?)
    }

    /// Sends what was written down.
    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }

    /// Whether something of the body was not read.
    pub(super) fn has_unread_body(&self) -> bool {
        self.body != Body::Over
    }

    /// Reads what is left of the body. An error if there is too much of it.
    pub(super) async fn discard_body(&mut self) -> Result<(), Broken> {
        if self.continues {
            // Whether the body comes all the same, only the client knows.
            return Err(Broken::Gone);
        }
        let mut discarded = 0;
        while let Some(piece) = self.piece().await? {
            let Piece::Data(data) = piece else { continue };
            discarded += data.len() as u64;
            if discarded > DISCARD_MAX_BYTES {
                return Err(Broken::Gone);
            }
        }
        Ok(())
    }

    async fn encourage(&mut self) -> Result<(), Broken> {
        if std::mem::take(&mut self.continues) {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.flush().await?;
        }
        Ok(())
    }

    async fn read(&mut self, room: usize) -> io::Result<usize> {
        self.input.reserve(room);
        self.stream.read_buf(&mut self.input).await
    }

    fn take_chunk_size(&mut self) -> Result<bool, Broken> {
        match httparse::parse_chunk_size(&self.input) {
            Ok(httparse::Status::Complete((line, size))) => {
                self.input.advance(line);
                self.body = if size == 0 { Body::Trailers } else { Body::Chunk(size) };
                Ok(true)
            }
            Ok(httparse::Status::Partial) if self.input.len() <= TRAILERS_MAX_BYTES => Ok(false),
            _ => Err(Broken::Malformed(Malformed::Syntax)),
        }
    }

    fn take_trailers(&mut self) -> Result<Option<Vec<(String, String)>>, Broken> {
        let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
        match httparse::parse_headers(&self.input, &mut fields) {
            Ok(httparse::Status::Complete((length, fields))) => {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let trailers = fields.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
                self.input.advance(length);
                Ok(Some(trailers))
            }
            Ok(httparse::Status::Partial) if self.input.len() <= TRAILERS_MAX_BYTES => Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                Err(Broken::Malformed(Malformed::TooLarge))
            }
            Err(_) => Err(Broken::Malformed(Malformed::Syntax)),
        }
    }
}
