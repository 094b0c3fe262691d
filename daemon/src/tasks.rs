//! Named tasks with an owner.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info_span};

/// The background tasks of one role. Cloning gives another handle to the same set.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
    failure: Arc<OnceLock<TaskFailure>>,
}

/// What the end of a task by error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The role can't go on: [`Tasks::failed`] tells its owner.
    EndRole,
    /// Logged; nothing else depends on it.
    Log,
}

/// A task ended by error and its role can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} failed: {reason}")]
pub struct TaskFailure {
    /// Which task.
    pub task: &'static str,
    /// Its error.
    pub reason: String,
}

impl Tasks {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. It should end soon after [`Self::stopping`] resolves. A panic counts as its failure.
    pub fn spawn<E: std::fmt::Display>(
        &self,
        task: &'static str,
        on_failure: OnFailure,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (failure, failed) = (self.failure.clone(), self.failed.clone());
        let guarded = async move {
            // What the task shared with others may be half done after a panic; its owner decides, as for any failure.
            let reason = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(ended) => ended.err().map(|reason| reason.to_string()),
                Err(panic) => Some(format!("it panicked: {}", message_of(&*panic))),
            };
            if let Some(reason) = reason {
                error!(task, %reason, "task failed");
                if on_failure == OnFailure::EndRole {
                    // Only the first failure is kept: the others follow from it.
                    let _ = failure.set(TaskFailure { task, reason });
                    failed.cancel();
                }
            }
        };
        self.tracker.spawn(guarded.instrument(info_span!("task", task)));
    }

    /// Resolves when the role is asked to stop.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// The token behind [`Self::stopping`].
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Resolves when a task that the role needs has failed.
    pub async fn failed(&self) -> TaskFailure {
        self.failed.cancelled().await;
        let unnamed = || TaskFailure { task: "unnamed", reason: "no reason was kept".into() };
        self.failure.get().cloned().unwrap_or_else(unnamed)
    }

    /// Asks every task to stop and waits for them, at most `grace`. Tells whether all ended.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_needed_task_that_fails_is_told_and_the_first_reason_kept() {
        let tasks = Tasks::new();
        tasks.spawn("first", OnFailure::EndRole, async { Err("broken") });
        assert_eq!(tasks.failed().await, TaskFailure { task: "first", reason: "broken".into() });
        tasks.spawn("second", OnFailure::EndRole, async { Err("broken too") });
        assert!(tasks.stop(Duration::from_secs(1)).await);
        assert_eq!(tasks.failed().await.task, "first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_needed_task_that_panics_is_told() {
        fn broken() -> Result<(), String> {
            panic!("nothing there")
        }
        let tasks = Tasks::new();
        tasks.spawn("first", OnFailure::EndRole, async { broken() });
        assert_eq!(tasks.failed().await, TaskFailure { task: "first", reason: "it panicked: nothing there".into() });
        assert!(tasks.stop(Duration::from_secs(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_waits_for_tasks_and_tells_of_one_that_does_not_end() {
        let tasks = Tasks::new();
        let stopping = tasks.clone();
        tasks.spawn("polite", OnFailure::Log, async move {
            stopping.stopping().await;
            Ok::<(), String>(())
        });
        assert!(tasks.stop(Duration::from_secs(1)).await);
        let deaf = Tasks::new();
        deaf.spawn("deaf", OnFailure::Log, std::future::pending::<Result<(), String>>());
        assert!(!deaf.stop(Duration::from_secs(1)).await);
    }
}
