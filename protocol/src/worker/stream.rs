//! A streamed answer on its way: pieces in order, and no more of them under way than [`STREAM_WINDOW`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hearth_domain::stream::{STREAM_WINDOW, stream_cost};
use tokio::sync::{Notify, mpsc};

/// A piece of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPiece {
    /// Comes first, and once.
    Start {
        /// `Content-Type` of the runtime's request; empty if it had none.
        content_type: String,
    },
    /// Bytes, from 1 to `STREAM_CHUNK_MAX_BYTES`.
    Chunk(Bytes),
}

impl StreamPiece {
    /// What it takes of the window.
    #[must_use]
    pub fn cost(&self) -> u64 {
        match self {
            Self::Start { .. } => 0,
            Self::Chunk(data) => stream_cost(data.len()),
        }
    }
}

/// Both ends of a stream.
#[must_use]
pub fn response_stream() -> (StreamSender, StreamReceiver) {
    // Not bounded by itself: the window bounds what is in it.
    let (pieces, received) = mpsc::unbounded_channel();
    let flow = Arc::new(Flow::default());
    (StreamSender { pieces, flow: flow.clone(), sent: 0 }, StreamReceiver { pieces: received, flow })
}

#[derive(Debug, Default)]
struct Flow {
    /// Cost of all that was taken.
    taken: AtomicU64,
    moved: Notify,
}

/// The function's end.
#[derive(Debug)]
pub struct StreamSender {
    pieces: mpsc::UnboundedSender<StreamPiece>,
    flow: Arc<Flow>,
    /// Cost of all that was sent.
    sent: u64,
}

impl StreamSender {
    /// Sends a piece without waiting. Whoever calls this keeps to the window: see [`Self::taken`].
    pub fn put(&mut self, piece: StreamPiece) {
        self.sent += piece.cost();
        // A caller who has gone takes everything.
        let _ = self.pieces.send(piece);
    }

    /// Sends a piece when there is room for it.
    pub async fn send(&mut self, piece: StreamPiece) {
        loop {
            let taken = self.taken();
            if self.sent + piece.cost() <= taken + STREAM_WINDOW {
                return self.put(piece);
            }
            self.moved(taken).await;
        }
    }

    /// Cost of all that the caller has taken; everything, once it has gone.
    #[must_use]
    pub fn taken(&self) -> u64 {
        if self.pieces.is_closed() { self.sent } else { self.flow.taken.load(Ordering::Acquire) }
    }

    /// Resolves when [`Self::taken`] is another number than `seen`. Safe to cancel.
    pub async fn moved(&self, seen: u64) {
        loop {
            let moved = self.flow.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.taken() != seen {
                return;
            }
            if self.pieces.is_closed() {
                // Nothing moves until more is put.
                std::future::pending::<()>().await;
            }
            tokio::select! {
                () = moved => {}
                () = self.pieces.closed() => {}
            }
        }
    }
}

/// The caller's end.
#[derive(Debug)]
pub struct StreamReceiver {
    pieces: mpsc::UnboundedReceiver<StreamPiece>,
    flow: Arc<Flow>,
}

impl StreamReceiver {
    /// The next piece; `None` when there are no more. Safe to cancel.
    pub async fn next(&mut self) -> Option<StreamPiece> {
        let piece = self.pieces.recv().await?;
        self.flow.taken.fetch_add(piece.cost(), Ordering::Release);
        self.flow.moved.notify_waiters();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use hearth_domain::stream::STREAM_CHUNK_MAX_BYTES;

    use super::*;

    fn chunk(bytes: usize) -> StreamPiece {
        StreamPiece::Chunk(vec![1; bytes].into())
    }

    #[tokio::test]
    async fn no_more_is_under_way_than_the_window_holds() {
        let (mut sender, mut receiver) = response_stream();
        let largest = stream_cost(STREAM_CHUNK_MAX_BYTES);
        for _ in 0..STREAM_WINDOW / largest {
            sender.send(chunk(STREAM_CHUNK_MAX_BYTES)).await;
        }
        let waits = sender.send(chunk(STREAM_CHUNK_MAX_BYTES));
        tokio::pin!(waits);
        assert!(poll!(waits.as_mut()).is_pending());
        assert_eq!(receiver.next().await, Some(chunk(STREAM_CHUNK_MAX_BYTES)));
        assert!(poll!(waits.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn who_has_gone_takes_everything() {
        let (mut sender, receiver) = response_stream();
        sender.put(chunk(10));
        {
            let moved = sender.moved(0);
            tokio::pin!(moved);
            assert!(poll!(moved.as_mut()).is_pending());
            drop(receiver);
            moved.await;
        }
        assert_eq!(sender.taken(), stream_cost(10));
        for _ in 0..100 {
            sender.send(chunk(STREAM_CHUNK_MAX_BYTES)).await;
        }
        let seen = sender.taken();
        let moved = sender.moved(seen);
        tokio::pin!(moved);
        assert!(poll!(moved.as_mut()).is_pending());
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_end_with_the_sender() {
        let (mut sender, mut receiver) = response_stream();
        let start = StreamPiece::Start { content_type: "text/plain".into() };
        sender.put(start.clone());
        sender.put(chunk(1));
        drop(sender);
        assert_eq!(receiver.next().await, Some(start));
        assert_eq!(receiver.next().await, Some(chunk(1)));
        assert_eq!(receiver.next().await, None);
    }
}
