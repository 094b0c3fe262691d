//! The pieces of a call whose answer may be streamed.

use hearth_domain::stream::STREAM_CHUNK_MAX_BYTES;

use super::{Malformed, missing, nested, text};
use crate::generated::v1 as pb;
use crate::worker::{InvokeError, InvokeResponse, StreamPiece};

/// Longest content type, bytes.
const CONTENT_TYPE_MAX_BYTES: usize = 256;

/// One message of such a call.
#[derive(Debug, Clone)]
pub(crate) enum InvokePiece {
    /// Of the answer.
    Piece(StreamPiece),
    /// What became of the call; comes last.
    End(Box<Result<InvokeResponse, InvokeError>>),
}

impl From<InvokePiece> for pb::InvokePiece {
    fn from(piece: InvokePiece) -> Self {
        use pb::invoke_piece::{Piece, Start};
        let piece = match piece {
            InvokePiece::Piece(StreamPiece::Start { content_type }) => Piece::Start(Start { content_type }),
            InvokePiece::Piece(StreamPiece::Chunk(data)) => Piece::Chunk(data),
            InvokePiece::End(outcome) => Piece::End((*outcome).into()),
        };
        Self { piece: Some(piece) }
    }
}

impl TryFrom<pb::InvokePiece> for InvokePiece {
    type Error = Malformed;

    fn try_from(wire: pb::InvokePiece) -> Result<Self, Malformed> {
        use pb::invoke_piece::Piece;
        match wire.piece.ok_or_else(|| missing("piece"))? {
            Piece::Start(start) => {
                let content_type = text("start.content_type", start.content_type, CONTENT_TYPE_MAX_BYTES)?;
                Ok(Self::Piece(StreamPiece::Start { content_type }))
            }
            Piece::Chunk(data) if (1..=STREAM_CHUNK_MAX_BYTES).contains(&data.len()) => {
                Ok(Self::Piece(StreamPiece::Chunk(data)))
            }
            Piece::Chunk(data) => {
                let reason = format_args!("{} bytes are not from 1 to {STREAM_CHUNK_MAX_BYTES}", data.len());
                Err(Malformed::new("chunk", reason))
            }
            Piece::End(reply) => nested("end", reply).map(|outcome| Self::End(Box::new(outcome))),
        }
    }
}
