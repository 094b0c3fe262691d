//! How an answer passes from its connection to the supervisor: whole, or piece by piece.

use bytes::Bytes;
use hearth_guest_protocol::GuestError;
use hearth_guest_protocol::response::Outcome;
use tokio::sync::{mpsc, oneshot};

/// The connection's end.
#[derive(Debug)]
pub(crate) enum AnswerSink {
    /// For the whole answer.
    Whole(oneshot::Sender<Heard>),
    /// For one piece after the other.
    Pieces(mpsc::Sender<Heard>),
}

/// The supervisor's end.
#[derive(Debug)]
pub(crate) enum AnswerSource {
    /// Gives the whole answer.
    Whole(oneshot::Receiver<Heard>),
    /// Gives one piece after the other.
    Pieces(mpsc::Receiver<Heard>),
}

/// What comes of an answer.
#[derive(Debug)]
pub(crate) enum Heard {
    /// All of it.
    Whole {
        /// What it is.
        outcome: Outcome,
        /// To be told when the worker has it.
        taken: oneshot::Sender<()>,
    },
    /// Pieces will come.
    Start {
        /// `Content-Type`, or nothing.
        content_type: String,
    },
    /// A piece, of at most `STREAM_CHUNK_MAX_BYTES`.
    Chunk(Bytes),
    /// There are no more.
    End {
        /// What ended it early.
        error: Option<GuestError>,
        /// To be told when the worker has all.
        taken: oneshot::Sender<()>,
    },
    /// The connection broke.
    Aborted,
}

/// Both ends of a new answer.
pub(crate) fn answer(in_pieces: bool) -> (AnswerSink, AnswerSource) {
    if in_pieces {
        let (sink, source) = mpsc::channel(1);
        (AnswerSink::Pieces(sink), AnswerSource::Pieces(source))
    } else {
        let (sink, source) = oneshot::channel();
        (AnswerSink::Whole(sink), AnswerSource::Whole(source))
    }
}

impl AnswerSource {
    /// What comes next. Safe to cancel.
    pub(crate) async fn hear(&mut self) -> Heard {
        let heard = match self {
            Self::Whole(source) => source.await.ok(),
            Self::Pieces(source) => source.recv().await,
        };
        heard.unwrap_or(Heard::Aborted)
    }
}
