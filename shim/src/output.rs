//! The pipe that a runtime's standard output and error both go to, so that their order is kept.
//!
//! Invariants: this process keeps a writing end, so the pipe never ends; reading never waits longer than for the first
//! byte; what is read at a turn is what was in the pipe when the turn began, however much is written meanwhile.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use hearth_guest_protocol::LOG_CHUNK_MAX_BYTES;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;

/// The pipe.
#[derive(Debug)]
pub(crate) struct Output {
    reader: Receiver,
    writer: OwnedFd,
    buffer: Vec<u8>,
}

impl Output {
    /// A new pipe. Within a tokio runtime only.
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only the reading end is made non-blocking: writers wait when the pipe is full, as programs expect.
        let reader = Receiver::from_owned_fd(reader)?;
        Ok(Self { reader, writer, buffer: vec![0; LOG_CHUNK_MAX_BYTES] })
    }

    /// A writing end for a process.
    pub(crate) fn writer(&self) -> io::Result<Stdio> {
        Ok(self.writer.try_clone()?.into())
    }

    /// Waits until something was written and reads one chunk of it. Safe to cancel.
    pub(crate) async fn read(&mut self) -> io::Result<&[u8]> {
        loop {
            self.reader.readable().await?;
            match self.reader.try_read(&mut self.buffer) {
                Ok(length) => return Ok(&self.buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How many bytes are in the pipe.
    pub(crate) fn pending(&self) -> io::Result<usize> {
        Ok(usize::try_from(rustix::io::ioctl_fionread(&self.reader)?).unwrap_or(usize::MAX))
    }

    /// Reads at most `most` bytes, and one chunk, of what is there; empty if nothing is.
    pub(crate) fn read_now(&mut self, most: usize) -> io::Result<&[u8]> {
        let most = most.min(self.buffer.len());
        // Past tokio: its note that nothing is to be read may be older than what is there now.
        match rustix::io::read(&self.reader, &mut self.buffer[..most]) {
            Ok(length) => Ok(&self.buffer[..length]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(&[]),
            Err(error) => Err(error.into()),
        }
    }
}
