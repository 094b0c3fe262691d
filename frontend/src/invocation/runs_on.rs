//! Work that is done within whoever awaits it, and by itself if that one leaves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A future that goes on in a task of its own when it is dropped unfinished. Until then it costs no task and no wakeup.
/// Its tracker waits for it either way.
pub(super) struct RunsOn<F: Future<Output: Send> + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    running: TaskTrackerToken,
}

impl<F: Future<Output: Send> + Send + 'static> RunsOn<F> {
    /// Tracked by `running` from now on.
    pub(super) fn new(work: F, running: &TaskTracker) -> Self {
        Self { work: Some(Box::pin(work)), running: running.token() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for RunsOn<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Nobody polls what was ready; if somebody does, it never is again.
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for RunsOn<F> {
    fn drop(&mut self) {
        // Without a runtime everything ends, and this with it.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            let tracked = self.running.task_tracker().track_future(work);
            runtime.spawn(async move { drop(tracked.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_awaited_gives_its_outcome() {
        let running = TaskTracker::new();
        assert_eq!(RunsOn::new(async { 7 }, &running).await, 7);
        running.close();
        running.wait().await;
    }

    #[tokio::test]
    async fn what_is_dropped_is_done_all_the_same_and_waited_for() {
        let running = TaskTracker::new();
        let (go_on, goes_on) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let work = RunsOn::new(async move { goes_on.await.is_ok() && done.send(7).is_ok() }, &running);
        let mut work = Box::pin(work);
        assert!(futures::poll!(work.as_mut()).is_pending());
        drop(work);
        running.close();
        assert_eq!(running.len(), 1);
        go_on.send(()).unwrap();
        running.wait().await;
        assert_eq!(is_done.await, Ok(7));
    }
}
