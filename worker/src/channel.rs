//! Frames to and from the shim of one sandbox.
//!
//! Both halves can be abandoned between any two awaits without losing or doubling a byte, so a slot's task waits for
//! both at once: a shim that does not read can't keep the worker from hearing it, or from ending it.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use hearth_guest_protocol::{FrameError, GuestMessage, HostMessage, decode, encode, guest_message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

/// Room that a buffer keeps between frames; a larger one is given back after its frame.
const BUFFER_KEPT_BYTES: usize = 16 * 1024;

/// Both ends of the talk with one shim.
#[derive(Debug)]
pub(crate) struct Channel {
    /// What it says.
    pub(crate) reader: Reader,
    /// What it is told.
    pub(crate) writer: Writer,
}

/// The shim's messages.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: pipe::Receiver,
    buffer: BytesMut,
}

/// The worker's messages.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: UnixStream,
    buffer: BytesMut,
    /// Listens for room in the socket, while something waits to be sent.
    patient: Option<pipe::Sender>,
}

/// The channel is of no more use, and so is its sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The other end is closed: the sandbox ended, or its shim did.
    #[error("the sandbox closed its channel")]
    Closed,
    /// What came is no frame of the protocol.
    #[error("the sandbox broke the protocol: {0}")]
    Frame(#[from] FrameError),
    /// A frame holds no message that this worker knows.
    #[error("the sandbox broke the protocol: an empty message")]
    Empty,
    /// The socket failed.
    #[error("the sandbox's channel failed: {0}")]
    Socket(#[from] io::Error),
}

impl Channel {
    /// Over this socket. Within a tokio runtime only.
    ///
    /// What can be read is listened for, always; that something can be written only while a write waits. A socket listened
    /// to for both wakes its task with every message that the shim takes, to no end. So each direction is, to tokio, an
    /// end of a pipe: all that is done with them is to read and to write.
    pub(crate) fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        let stream = stream.into_std()?;
        let reader = pipe::Receiver::from_owned_fd_unchecked(stream.try_clone()?.into())?;
        Ok(Self {
            reader: Reader { stream: reader, buffer: BytesMut::with_capacity(BUFFER_KEPT_BYTES) },
            writer: Writer { stream, buffer: BytesMut::new(), patient: None },
        })
    }
}

impl Reader {
    /// The next message. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Result<guest_message::Kind, ChannelError> {
        loop {
            if let Some(message) = decode::<GuestMessage>(&mut self.buffer)? {
                return message.kind.ok_or(ChannelError::Empty);
            }
            self.buffer.reserve(1);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ChannelError::Closed),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Writer {
    /// Adds a message to what [`Self::flush`] sends, and sends at once what the socket takes without waiting. There
    /// is never more than one Init, one Invoke and one Shutdown under way, so this is bounded.
    pub(crate) fn queue(&mut self, message: &HostMessage) -> Result<(), FrameError> {
        let idle = !self.pending();
        encode(message, &mut self.buffer)?;
        // A socket that fails here fails again in `flush`, which reports it. What waits already goes first, and by there.
        if idle && let Ok(sent) = self.stream.write(&self.buffer) {
            self.sent(sent);
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(crate) fn pending(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Sends what waits. Cancel safe.
    pub(crate) async fn flush(&mut self) -> Result<(), ChannelError> {
        while self.pending() {
            let stream = match &mut self.patient {
                Some(stream) => stream,
                None => self.patient.insert(pipe::Sender::from_owned_fd_unchecked(self.stream.try_clone()?.into())?),
            };
            match stream.write(&self.buffer).await {
                Ok(sent) => self.sent(sent),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(ChannelError::Closed),
                Err(error) => return Err(error.into()),
            }
        }
        self.patient = None;
        Ok(())
    }

    fn sent(&mut self, bytes: usize) {
        let _ = self.buffer.split_to(bytes);
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use hearth_guest_protocol::{Invoke, Ready};
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn pair() -> (Channel, tokio::net::UnixStream) {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        (Channel::new(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn a_message_arrives_in_any_pieces() {
        let (mut channel, mut theirs) = pair();
        let mut bytes = BytesMut::new();
        encode(
            &GuestMessage::from(Ready { protocol_version: 1, runtime_started: true, ..Ready::default() }),
            &mut bytes,
        )
        .unwrap();
        let (head, tail) = bytes.split_at(3);
        theirs.write_all(head).await.unwrap();
        {
            let waiting = channel.reader.receive();
            tokio::pin!(waiting);
            assert!(futures::poll!(waiting.as_mut()).is_pending());
        }
        theirs.write_all(tail).await.unwrap();
        assert!(matches!(channel.reader.receive().await, Ok(guest_message::Kind::Ready(_))));
        drop(theirs);
        assert!(matches!(channel.reader.receive().await, Err(ChannelError::Closed)));
    }

    #[tokio::test]
    async fn a_large_message_to_a_shim_that_does_not_read_waits_and_loses_nothing() {
        let (mut channel, mut theirs) = pair();
        let payload = bytes::Bytes::from(vec![b'x'; 4 * 1024 * 1024]);
        channel.writer.queue(&Invoke { payload: payload.clone(), ..Invoke::default() }.into()).unwrap();
        assert!(channel.writer.pending());
        let read = tokio::spawn(async move {
            let mut buffer = BytesMut::new();
            loop {
                if let Some(message) = decode::<HostMessage>(&mut buffer).unwrap() {
                    return message;
                }
                theirs.read_buf(&mut buffer).await.unwrap();
            }
        });
        channel.writer.flush().await.unwrap();
        assert_eq!(read.await.unwrap(), Invoke { payload, ..Invoke::default() }.into());
    }
}
