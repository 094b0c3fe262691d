//! The table of the life cycle: which event is legal in which phase, and where it leads.

/// Where the sandbox is in its one life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A pre-started runtime is still importing its own machinery.
    Booting,
    /// Ready; no function known yet.
    Pooled,
    /// About to be snapshotted before any function is known; nothing happens until the restore.
    PooledAtRest,
    /// The function is known; its code is being loaded.
    Initializing,
    /// The runtime could not be started or said that its init failed.
    InitFailed,
    /// The runtime has run its before-snapshot hooks and waits for the restore.
    RestoreReady,
    /// About to be snapshotted so.
    AtRest,
    /// The runtime runs its after-restore hooks.
    Restoring,
    /// They failed.
    RestoreFailed,
    /// The runtime waits for an invocation.
    Idle,
    /// About to be snapshotted while the runtime, which has no hooks, waits for an invocation.
    IdleAtRest,
    /// An invocation is here; the runtime has not asked for it yet.
    Pending,
    /// The runtime has the invocation.
    Running,
    /// The runtime is sending the answer.
    Responding,
    /// The runtime is sending an error.
    Failing,
    /// The answer is complete; the runtime has not asked for more yet.
    Answered,
    /// The runtime process has ended.
    Over,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The pre-started runtime has imported its machinery.
    Warm,
    /// The worker named the function.
    Init,
    /// The runtime reported that its init failed, or could not be started at all.
    InitError,
    /// The worker is about to take a snapshot.
    PrepareSnapshot,
    /// The worker says that this is another sandbox now.
    Restore,
    /// The runtime asked to be told of the restore.
    RestoreNext,
    /// The runtime reported that its after-restore hooks failed.
    RestoreError,
    /// The runtime asked for its next invocation.
    Next,
    /// The worker sent an invocation.
    Invoke,
    /// The runtime began to send an answer.
    ResponseBegins,
    /// The runtime began to send an error.
    ErrorBegins,
    /// The answer or error has arrived whole.
    AnswerEnds,
    /// The connection broke before the answer or error was whole.
    AnswerAborted,
    /// The runtime process ended.
    Exit,
}

impl Phase {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 17] = [
        Self::Booting,
        Self::Pooled,
        Self::PooledAtRest,
        Self::Initializing,
        Self::InitFailed,
        Self::RestoreReady,
        Self::AtRest,
        Self::Restoring,
        Self::RestoreFailed,
        Self::Idle,
        Self::IdleAtRest,
        Self::Pending,
        Self::Running,
        Self::Responding,
        Self::Failing,
        Self::Answered,
        Self::Over,
    ];

    /// The phase after `event`, or `None` where the event is illegal.
    #[must_use]
    pub const fn after(self, event: Event) -> Option<Self> {
        Some(match (self, event) {
            (Self::Booting, Event::Warm) => Self::Pooled,
            (Self::Pooled, Event::PrepareSnapshot) => Self::PooledAtRest,
            (Self::PooledAtRest, Event::Restore) => Self::Pooled,
            (Self::Pooled, Event::Init) => Self::Initializing,
            (Self::Initializing, Event::InitError) => Self::InitFailed,
            // A runtime that asks again has lost its connection, or the answer.
            (Self::Initializing | Self::RestoreReady, Event::RestoreNext) => Self::RestoreReady,
            (Self::RestoreReady, Event::PrepareSnapshot) => Self::AtRest,
            (Self::AtRest, Event::Restore) | (Self::Restoring, Event::RestoreNext) => Self::Restoring,
            (Self::Restoring, Event::RestoreError) => Self::RestoreFailed,
            (Self::Initializing | Self::Restoring | Self::Idle | Self::Answered, Event::Next) => Self::Idle,
            (Self::Idle, Event::PrepareSnapshot) => Self::IdleAtRest,
            (Self::IdleAtRest, Event::Restore) => Self::Idle,
            (Self::Idle | Self::Answered, Event::Invoke) => Self::Pending,
            // A runtime that asks again while it has an invocation gets the same one again: its answer was lost.
            (Self::Pending | Self::Running, Event::Next) => Self::Running,
            (Self::Running, Event::ResponseBegins) => Self::Responding,
            (Self::Running, Event::ErrorBegins) => Self::Failing,
            (Self::Responding | Self::Failing, Event::AnswerAborted) => Self::Running,
            (Self::Responding | Self::Failing, Event::AnswerEnds) => Self::Answered,
            (Self::Over, _) => return None,
            (_, Event::Exit) => Self::Over,
            _ => return None,
        })
    }

    /// Whether an invocation is under way in this phase.
    #[must_use]
    pub const fn has_invocation(self) -> bool {
        matches!(self, Self::Pending | Self::Running | Self::Responding | Self::Failing)
    }

    /// Whether nothing is to be heard of this sandbox until it is restored.
    #[must_use]
    pub const fn is_at_rest(self) -> bool {
        matches!(self, Self::PooledAtRest | Self::AtRest | Self::IdleAtRest)
    }

    /// The name AWS's Runtime API gives this phase in its error messages.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Booting | Self::Pooled | Self::PooledAtRest | Self::Initializing => "Started",
            Self::InitFailed | Self::Over => "InitError",
            Self::RestoreReady | Self::AtRest => "RestoreReady",
            Self::Restoring => "Restoring",
            Self::RestoreFailed => "RestoreError",
            Self::Idle | Self::IdleAtRest => "Ready",
            Self::Running => "Running",
            Self::Responding => "InvocationResponse",
            Self::Failing => "InvocationErrorResponse",
            Self::Pending | Self::Answered => "RuntimeResponseSentState",
        }
    }
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Warm,
        Self::Init,
        Self::InitError,
        Self::PrepareSnapshot,
        Self::Restore,
        Self::RestoreNext,
        Self::RestoreError,
        Self::Next,
        Self::Invoke,
        Self::ResponseBegins,
        Self::ErrorBegins,
        Self::AnswerEnds,
        Self::AnswerAborted,
        Self::Exit,
    ];

    /// The name AWS's Runtime API gives, in its error messages, to the phase this event asks for.
    #[must_use]
    pub const fn wire_target(self) -> &'static str {
        match self {
            Self::Next => "Ready",
            Self::InitError => "InitError",
            Self::RestoreNext => "RestoreReady",
            Self::RestoreError => "RestoreError",
            Self::ErrorBegins => "InvocationErrorResponse",
            _ => "InvocationResponse",
        }
    }
}
