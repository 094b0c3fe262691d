//! The launcher's end of the control socket: requests with descriptors out, replies in order, each within its time.
//!
//! A guest may have taken the process at the other end over. So its packets are bounded, bring no descriptors in (the
//! kernel closes them), and what is not the one reply that is due ends the talk for good. What it says in words is cut
//! and stripped of control characters before anybody reads it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hearth_vmm::control::{Event, FdIndex, FromVmm, MESSAGE_MAX_BYTES, Reply, Request, StopReason, VERSION};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use crate::sys;

/// Longest time for what only the process itself has to do.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for what waits for a disk: making a machine, writing the state of one.
pub(super) const DISK_TIMEOUT: Duration = Duration::from_secs(60);
/// Most descriptors that ride along with one request.
const DESCRIPTORS_MAX: usize = 16;
/// Largest packet that is taken, bytes: replies and events are small.
const REPLY_MAX_BYTES: usize = 4096;
/// Events that may come before a reply.
const EVENTS_MAX: usize = 16;
/// Of what the process says in words, so many characters are kept.
const WORDS_MAX: usize = 1_000;

/// A request did not come to its reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    /// It was refused; the process goes on.
    #[error("{0}")]
    Refused(String),
    /// The process is of another build.
    #[error(
        "hearth-vmm speaks version {0} of the control protocol, not {VERSION}: install hearth and hearth-vmm of one build"
    )]
    Version(u16),
    /// The process has ended.
    #[error("hearth-vmm has ended")]
    Gone,
    /// No reply in time; the process is not to be talked to any more.
    #[error("hearth-vmm did not answer within {0:?}")]
    Late(Duration),
    /// Not the reply that was due; the process is not to be talked to any more.
    #[error("hearth-vmm answered with {0}")]
    Nonsense(&'static str),
    /// The socket failed.
    #[error("the control socket failed: {0}")]
    Socket(#[from] io::Error),
}

impl From<ControlError> for io::Error {
    fn from(error: ControlError) -> Self {
        let kind = match error {
            ControlError::Refused(_) => io::ErrorKind::Other,
            ControlError::Version(_) => io::ErrorKind::Unsupported,
            ControlError::Gone => io::ErrorKind::BrokenPipe,
            ControlError::Late(_) => io::ErrorKind::TimedOut,
            ControlError::Nonsense(_) => io::ErrorKind::InvalidData,
            ControlError::Socket(error) => return error,
        };
        Self::new(kind, error)
    }
}

/// Descriptors that go with a request, by the numbers it names them with.
#[derive(Default)]
pub(super) struct Parcel<'a> {
    descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Parcel<'a> {
    /// Packs one.
    pub(super) fn add(&mut self, descriptor: &'a impl AsFd) -> FdIndex {
        self.descriptors.push(descriptor.as_fd());
        FdIndex::try_from(self.descriptors.len() - 1).unwrap_or(FdIndex::MAX)
    }
}

/// The talk with one process.
pub(super) struct Control {
    socket: AsyncFd<OwnedFd>,
    /// Whose turn it is to ask; whether the talk has come to its end.
    turn: tokio::sync::Mutex<Talk>,
    stopped: Mutex<Option<StopReason>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// The answer to the greeting comes first.
    NotGreeted,
    Open,
    Over,
}

impl Control {
    /// Over our end of a new process's socket. Needs a tokio runtime with I/O.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let turn = tokio::sync::Mutex::new(Talk::NotGreeted);
        Ok(Self { socket: sys::event::watch(socket)?, turn, stopped: Mutex::new(None) })
    }

    /// Asks for something that is answered by [`Reply::Done`].
    pub(super) async fn ask(&self, request: &Request, parcel: Parcel<'_>, limit: Duration) -> Result<(), ControlError> {
        match self.request(request, parcel, limit).await? {
            Reply::Done => Ok(()),
            Reply::Hello { .. } | Reply::Stats(_) | Reply::Failed { .. } => Err(self.spoiled("another reply").await),
        }
    }

    /// Asks, and answers what was replied, [`Reply::Failed`] excepted.
    pub(super) async fn request(
        &self,
        request: &Request,
        parcel: Parcel<'_>,
        limit: Duration,
    ) -> Result<Reply, ControlError> {
        let mut talk = self.turn.lock().await;
        if *talk == Talk::Over {
            return Err(ControlError::Gone);
        }
        let greeted = *talk == Talk::Open;
        // Whatever comes between, also that nobody waits for the answer any more: it is over, or the next one to ask
        // would be given this answer.
        *talk = Talk::Over;
        let exchange = async {
            if !greeted {
                self.greet().await?;
            }
            self.exchange(request, &parcel).await
        };
        let reply = timeout(limit, exchange).await.map_err(|_| ControlError::Late(limit))??;
        *talk = Talk::Open;
        match reply {
            Reply::Failed { reason } => Err(ControlError::Refused(plain(&reason))),
            other => Ok(other),
        }
    }

    /// Why the machine stopped, if the process said so before its end.
    pub(super) fn stop_reason(&self) -> Option<StopReason> {
        for _ in 0..EVENTS_MAX {
            match self.receive_now() {
                Ok(FromVmm::Event(event)) => self.note(event),
                Ok(FromVmm::Reply(_)) | Err(_) => break,
            }
        }
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn spoiled(&self, what: &'static str) -> ControlError {
        *self.turn.lock().await = Talk::Over;
        ControlError::Nonsense(what)
    }

    /// Takes the answer to the greeting, which was sent when the process was started.
    async fn greet(&self) -> Result<(), ControlError> {
        match self.reply().await? {
            Reply::Hello { version: VERSION } => Ok(()),
            Reply::Hello { version } => Err(ControlError::Version(version)),
            Reply::Failed { reason } => Err(ControlError::Refused(plain(&reason))),
            Reply::Done | Reply::Stats(_) => Err(ControlError::Nonsense("no greeting")),
        }
    }

    async fn exchange(&self, request: &Request, parcel: &Parcel<'_>) -> Result<Reply, ControlError> {
        let bytes = postcard::to_stdvec(request).map_err(io::Error::other)?;
        if bytes.len() > MESSAGE_MAX_BYTES || parcel.descriptors.len() > DESCRIPTORS_MAX {
            return Err(ControlError::Socket(io::ErrorKind::InvalidInput.into()));
        }
        self.send(&bytes, parcel).await?;
        self.reply().await
    }

    async fn reply(&self) -> Result<Reply, ControlError> {
        for _ in 0..=EVENTS_MAX {
            match self.receive().await? {
                FromVmm::Reply(reply) => return Ok(reply),
                FromVmm::Event(event) => self.note(event),
            }
        }
        Err(ControlError::Nonsense("too many events"))
    }

    async fn send(&self, bytes: &[u8], parcel: &Parcel<'_>) -> Result<(), ControlError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        loop {
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !parcel.descriptors.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(&parcel.descriptors));
            }
            match sendmsg(self.socket.get_ref(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                // The socket is watched for what comes in only: there is room as long as one request is under way.
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => return Err(ControlError::Gone),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(ControlError::Socket(error.into())),
            }
        }
    }

    async fn receive(&self) -> Result<FromVmm, ControlError> {
        loop {
            match self.receive_now() {
                Err(ControlError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            let mut ready = self.socket.readable().await?;
            match self.receive_now() {
                Err(ControlError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                other => return other,
            }
        }
    }

    fn receive_now(&self) -> Result<FromVmm, ControlError> {
        let mut buffer = [0_u8; REPLY_MAX_BYTES];
        let mut none = RecvAncillaryBuffer::default();
        let received = loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            match recvmsg(self.socket.get_ref(), &mut into, &mut none, RecvFlags::DONTWAIT) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Err(ControlError::Gone),
                other => break other.map_err(io::Error::from)?,
            }
        };
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ControlError::Nonsense("too much"));
        }
        if received.bytes == 0 {
            return Err(ControlError::Gone);
        }
        match postcard::take_from_bytes(&buffer[..received.bytes]) {
            Ok((message, [])) => Ok(message),
            Ok(_) | Err(_) => Err(ControlError::Nonsense("what is no message")),
        }
    }

    fn note(&self, event: Event) {
        let Event::Stopped(reason) = event;
        let reason = match reason {
            StopReason::Failed { reason } => StopReason::Failed { reason: plain(&reason) },
            reset @ StopReason::Reset => reset,
        };
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// Words of a process that is not trusted, fit for a log.
pub(super) fn plain(words: &str) -> String {
    words.chars().take(WORDS_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
