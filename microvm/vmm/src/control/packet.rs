//! One message, one packet, with its descriptors; both ends use this.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MESSAGE_MAX_BYTES;

/// Descriptors that one message carries at most.
pub const DESCRIPTORS_MAX: usize = 16;

/// A message and the descriptors that came with it.
#[derive(Debug)]
pub struct Packet<T> {
    /// The message.
    pub message: T,
    /// Its descriptors, which its [`super::FdIndex`]es count; close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Sends `message` and lends the receiver `descriptors`.
///
/// # Errors
///
/// `InvalidInput` if the message or the number of descriptors is too large; `WouldBlock` on a non-blocking socket that
/// is full; else the system's word.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "the message is too large");
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if bytes.len() > MESSAGE_MAX_BYTES || descriptors.len() > DESCRIPTORS_MAX {
        return Err(too_large());
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(too_large());
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message; `None` when the other end is closed.
///
/// # Errors
///
/// `InvalidData` for what is no such message or too large, `WouldBlock` on a non-blocking socket without one; else the
/// system's word.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<Packet<T>>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    // Its size first: so the buffer is as large as the message, and no larger.
    let (_, size) = recv(&socket, &mut [0_u8; 0][..], RecvFlags::PEEK | RecvFlags::TRUNC)?;
    if size > MESSAGE_MAX_BYTES {
        return Err(invalid("a message of the control protocol is too large"));
    }
    let mut bytes = vec![0; size];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(invalid("a message of the control protocol came cut off"));
    }
    let message = postcard::from_bytes(bytes.get(..received.bytes).unwrap_or_default());
    let message = message.map_err(|error| invalid(&format!("no message of the control protocol: {error}")))?;
    Ok(Some(Packet { message, descriptors }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::super::{Reply, Request};
    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_message_arrives_with_its_descriptors_and_an_end_as_none() {
        let (left, right) = pair();
        let (mut reader, writer) = io::pipe().unwrap();
        send(&left, &Request::AttachCode { image: 0 }, &[writer.as_fd()]).unwrap();
        drop(writer);
        send(&left, &Request::Stop, &[]).unwrap();
        let mut packet = receive::<Request>(&right).unwrap().unwrap();
        assert_eq!(packet.message, Request::AttachCode { image: 0 });
        File::from(packet.descriptors.remove(0)).write_all(b"x").unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "x");
        assert_eq!(receive::<Request>(&right).unwrap().unwrap().message, Request::Stop);
        drop(left);
        assert!(receive::<Request>(&right).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (left, right) = pair();
        rustix::net::send(&left, &[0xff; 10], SendFlags::empty()).unwrap();
        assert_eq!(receive::<Request>(&right).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let reason = "x".repeat(MESSAGE_MAX_BYTES);
        let refused = send(&left, &Reply::Failed { reason }, &[]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
