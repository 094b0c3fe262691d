//! Invocations whose answer is wanted as it comes.

use bytes::Bytes;
use hearth_protocol::worker::{InvokeError, StreamPiece, StreamReceiver, response_stream};
use hearth_protocol::worker_manager::ReserveError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Answer, Invocation, InvocationError, Invoker, Pace};

/// What the caller gets.
#[derive(Debug)]
pub enum Streamed {
    /// All of it: the function did not stream, or failed before it did.
    Whole(Answer),
    /// One piece after the other.
    Pieces(Pieces),
}

/// A streamed answer. Dropping it does not end the call: what the function still writes is thrown away.
#[derive(Debug)]
pub struct Pieces {
    /// What the function says it is; empty if it says nothing.
    pub content_type: String,
    received: StreamReceiver,
    answered: oneshot::Receiver<Result<Answer, InvokeError>>,
}

/// What comes of a streamed answer.
#[derive(Debug)]
pub enum Part {
    /// Bytes.
    Chunk(Bytes),
    /// It is over: with an empty document, or with the error that ended it. Nothing comes after this.
    End(Result<Answer, InvocationError>),
}

impl Pieces {
    /// What comes next.
    pub async fn next(&mut self) -> Part {
        loop {
            match self.received.next().await {
                Some(StreamPiece::Chunk(data)) => return Part::Chunk(data),
                Some(StreamPiece::Start { .. }) => {}
                None => break,
            }
        }
        let answered = (&mut self.answered).await.map_err(|_| InvocationError::Lost);
        Part::End(answered.and_then(|answer| answer.map_err(InvocationError::Failed)))
    }
}

impl Invoker {
    /// As [`Self::invoke`], and an answer that the function streams is given from its first byte on.
    pub async fn invoke_streaming(&self, invocation: Invocation) -> Result<Streamed, InvocationError> {
        let deadline = Instant::now() + invocation.capacity_wait;
        let mut pace = Pace::until(deadline);
        loop {
            let reservation = match self.roles.reserve(&invocation, deadline).await {
                Ok(reservation) => reservation,
                Err(ReserveError::InitFailed(failure)) => {
                    return Ok(Streamed::Whole(self.roles.init_failed(&invocation, *failure)));
                }
                Err(error) => {
                    self.roles.refused(&invocation, &error);
                    return Err(error.into());
                }
            };
            let (pieces, mut received) = response_stream();
            let (answer, answered) = oneshot::channel();
            let run = self.start(&invocation, reservation, Some(pieces));
            // Whoever has gone does not want the answer.
            self.running.spawn(async move { drop(answer.send(run.await)) });
            if let Some(StreamPiece::Start { content_type }) = received.next().await {
                return Ok(Streamed::Pieces(Pieces { content_type, received, answered }));
            }
            match answered.await.map_err(|_| InvocationError::Lost)? {
                Ok(answer) => return Ok(Streamed::Whole(answer)),
                Err(last) if !last.not_started() => return Err(InvocationError::Failed(last)),
                Err(last) => pace.before_next(last).await?,
            }
        }
    }
}
