//! The channel to the worker: whole messages in and out of a Unix socket.
//!
//! Invariants: one message is buffered in each direction, no more; large buffers are given back after use, because the
//! memory is the function's.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use hearth_guest_protocol::{FrameError, GuestMessage, HostMessage, decode, encode, host_message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

/// Buffers above this are not kept.
const KEPT_BUFFER_BYTES: usize = 16 * 1024;
/// Least room for one read.
const READ_BYTES: usize = 4 * 1024;

/// The channel is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The operating system says so.
    #[error("the channel to the worker broke: {0}")]
    Io(#[from] std::io::Error),
    /// What came is no frame.
    #[error("what came from the worker is wrong: {0}")]
    Frame(#[from] FrameError),
    /// A frame holds no message that this shim knows.
    #[error("the worker sent a message this shim does not know")]
    Unknown,
}

/// Splits the channel into its two directions. Within a tokio runtime only.
///
/// What can be read is listened for, always; that something can be written only while a write waits. A socket listened to
/// for both wakes this process with every message that the worker takes, to no end. So each direction is, to tokio, an
/// end of a pipe: all that is done with them is to read and to write.
pub fn split(stream: UnixStream) -> io::Result<(Receiver, Sender)> {
    stream.set_nonblocking(true)?;
    let receiver = pipe::Receiver::from_owned_fd_unchecked(stream.try_clone()?.into())?;
    Ok((Receiver { stream: receiver, buffer: BytesMut::new() }, Sender { stream, buffer: BytesMut::new() }))
}

/// From the worker.
#[derive(Debug)]
pub struct Receiver {
    stream: pipe::Receiver,
    buffer: BytesMut,
}

impl Receiver {
    /// The next message, or `None` when the worker has closed the channel.
    pub async fn receive(&mut self) -> Result<Option<host_message::Kind>, ChannelError> {
        loop {
            if let Some(message) = decode::<HostMessage>(&mut self.buffer)? {
                return message.kind.map(Some).ok_or(ChannelError::Unknown);
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// To the worker.
#[derive(Debug)]
pub struct Sender {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Sender {
    /// Sends a message. Waits while the worker does not read: that is the back-pressure on all a sandbox says.
    pub async fn send(&mut self, message: &GuestMessage) -> Result<(), ChannelError> {
        self.buffer.clear();
        encode(message, &mut self.buffer)?;
        let sent = match self.stream.write(&self.buffer) {
            Ok(sent) => sent,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error.into()),
        };
        if sent < self.buffer.len() {
            let mut patient = pipe::Sender::from_owned_fd_unchecked(self.stream.try_clone()?.into())?;
            patient.write_all(&self.buffer[sent..]).await?;
        }
        if self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hearth_guest_protocol::{Invoke, Ready, Shutdown};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (UnixStream, tokio::net::UnixStream) {
        let (shim, worker) = UnixStream::pair().unwrap();
        worker.set_nonblocking(true).unwrap();
        (shim, tokio::net::UnixStream::from_std(worker).unwrap())
    }

    #[tokio::test]
    async fn messages_pass_whole_and_in_order_until_the_worker_closes() {
        let (shim, mut worker) = pair();
        let (mut receiver, mut sender) = split(shim).unwrap();
        let mut bytes = BytesMut::new();
        let invoke = Invoke { request_id: "r".into(), payload: vec![7; 100_000].into(), ..Invoke::default() };
        encode(&HostMessage::from(invoke.clone()), &mut bytes).unwrap();
        encode(&HostMessage::from(Shutdown { grace_ms: 5 }), &mut bytes).unwrap();
        let written = tokio::spawn(async move {
            worker.write_all(&bytes).await.unwrap();
            worker
        });
        assert_eq!(receiver.receive().await.unwrap(), Some(host_message::Kind::Invoke(invoke)));
        assert_eq!(receiver.receive().await.unwrap(), Some(host_message::Kind::Shutdown(Shutdown { grace_ms: 5 })));
        let mut worker = written.await.unwrap();
        let ready = GuestMessage::from(Ready { protocol_version: 1, runtime_started: false, ..Ready::default() });
        sender.send(&ready).await.unwrap();
        let mut arrived = BytesMut::new();
        worker.read_buf(&mut arrived).await.unwrap();
        assert_eq!(decode::<GuestMessage>(&mut arrived).unwrap(), Some(ready));
        drop(worker);
        assert_eq!(receiver.receive().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_large_message_waits_for_a_slow_worker() {
        let (shim, mut worker) = pair();
        let (_receiver, mut sender) = split(shim).unwrap();
        let log =
            GuestMessage::from(hearth_guest_protocol::Log { data: vec![7; 4_000_000].into(), ..Default::default() });
        let (expected, mut arrived) = (log.clone(), BytesMut::new());
        let sent = tokio::spawn(async move { sender.send(&log).await });
        let received = loop {
            if let Some(message) = decode::<GuestMessage>(&mut arrived).unwrap() {
                break message;
            }
            worker.read_buf(&mut arrived).await.unwrap();
        };
        sent.await.unwrap().unwrap();
        assert_eq!(received, expected);
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_channel() {
        for garbage in [&[0xff, 0xff, 0xff, 0xff][..], &[0, 0, 0, 0], &[0, 0, 0, 2, 0xff, 0xff]] {
            let (shim, mut worker) = pair();
            worker.write_all(garbage).await.unwrap();
            let (mut receiver, _sender) = split(shim).unwrap();
            assert!(receiver.receive().await.is_err(), "{garbage:?}");
        }
    }
}
