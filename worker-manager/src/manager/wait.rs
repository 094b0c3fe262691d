//! A call that waits for its slot, and may leave at any moment.

use std::sync::Arc;

use hearth_domain::{Moment, RequestId};
use hearth_protocol::Unreachable;
use hearth_protocol::worker_manager::ReserveError;
use tokio::sync::oneshot;

use crate::router::WaiterId;

use super::shared::{Answer, Outgoing, Shared, unused};

/// Dropping it before it answered gives up the wait, or the slot that was just handed over.
pub(super) struct Wait {
    shared: Arc<Shared>,
    waiter: WaiterId,
    request_id: RequestId,
    since: Moment,
    receiver: oneshot::Receiver<Answer>,
    answered: bool,
}

impl Wait {
    /// Listens for the answer; to be called in the same step that made the waiter.
    pub(super) fn new(shared: &Arc<Shared>, outgoing: &mut Outgoing, waiter: WaiterId, request_id: RequestId) -> Self {
        let receiver = outgoing.listen(waiter, request_id.clone());
        Self { shared: shared.clone(), waiter, request_id, since: shared.now(), receiver, answered: false }
    }

    pub(super) async fn answer(mut self) -> Answer {
        let answer = (&mut self.receiver).await;
        self.answered = true;
        self.shared.wait_seconds.observe(self.shared.now().since(self.since).as_secs_f64());
        answer.unwrap_or_else(|_| Err(forgotten()))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let shared = self.shared.clone();
        shared.step(|router, outgoing, now| {
            outgoing.forget(self.waiter);
            router.on_cancel(now, self.waiter);
            // Answers are sent within a step, so from here on none can come.
            if let Ok(Ok(reservation)) = self.receiver.try_recv() {
                router.on_complete(now, &unused(self.request_id.clone(), &reservation), outgoing);
            }
        });
    }
}

/// The router answers every waiter; this is for the case that it is torn down first.
fn forgotten() -> ReserveError {
    let (role, reason) = ("worker manager".to_owned(), "it ended".to_owned());
    ReserveError::Unreachable(Unreachable { role, reason, not_sent: true })
}
