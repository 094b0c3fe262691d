//! What a slot's core asks for, taken down and carried out; and the sandbox it is carried out with.

use std::sync::Arc;

use hearth_guest_protocol::HostMessage;
use hearth_microvm::Sandbox;
use hearth_protocol::worker::{InitDone, InitSlotError, InvokeError, InvokeResponse, StreamPiece, StreamSender};
use tokio::sync::{oneshot, watch};
use tracing::debug;

use super::core::Outbox;
use super::{Host, InitAnswer};
use crate::channel::{Reader, Writer};
use crate::code::CodeLease;
use crate::logs::{LogEntry, LogSource};
use crate::snapshots::{Making, Snapshot};

/// What the core's words are carried out with.
pub(super) struct Hands {
    pub(super) logs: LogWriter,
    pub(super) init: watch::Sender<Option<InitAnswer>>,
    pub(super) invocation: Option<oneshot::Sender<Result<InvokeResponse, InvokeError>>>,
    /// Where the pieces of its answer go, if it wants them as they come.
    pub(super) stream: Option<StreamSender>,
    pub(super) equipment: Option<Equipment>,
    pub(super) wishes: Wishes,
}

/// A sandbox that the slot owns, with what belongs to it.
pub(super) struct Equipment {
    pub(super) sandbox: Box<dyn Sandbox>,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) frozen: bool,
    /// What it was restored from, until its first answer.
    pub(super) origin: Option<Snapshot>,
    /// The snapshot it is to become after its init.
    pub(super) making: Option<Making>,
    pub(super) _code: Option<CodeLease>,
}

/// What the core wants of the sandbox, to be done before anything else happens.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) freeze: bool,
    pub(super) thaw: bool,
    pub(super) end_of_init: bool,
    pub(super) answered: bool,
    pub(super) snapshot: bool,
    pub(super) outgoing: Option<HostMessage>,
}

pub(super) struct LogWriter {
    pub(super) host: Arc<Host>,
    pub(super) source: Arc<LogSource>,
}

/// What the first answer of a restored sandbox needed, the next one gets ahead.
pub(super) async fn record_prefetch(sandbox: &dyn Sandbox, origin: &Snapshot) {
    if !origin.claim_prefetch() {
        return;
    }
    match sandbox.record_prefetch().await {
        Ok(()) => origin.prefetched(),
        Err(error) => debug!(%error, "restores go on without bringing anything in ahead"),
    }
}

impl Outbox for Hands {
    fn send(&mut self, message: HostMessage) {
        self.wishes.outgoing = Some(message);
    }

    fn answer_init(&mut self, answer: Result<InitDone, InitSlotError>) {
        let host = &self.logs.host;
        host.metrics.init_over(&answer);
        self.init.send_replace(Some(answer));
        host.changed.notify_one();
    }

    fn answer(&mut self, answer: InvokeResponse) {
        self.logs.host.metrics.invocation_over(&answer);
        self.wishes.answered = true;
        self.stream = None;
        if let Some(invocation) = self.invocation.take() {
            // The caller may have left; the invocation is over all the same.
            let _ = invocation.send(Ok(answer));
        }
    }

    fn stream(&mut self, piece: StreamPiece) {
        if let Some(stream) = &mut self.stream {
            stream.put(piece);
        }
    }

    fn log(&mut self, entry: LogEntry) {
        self.logs.host.logs.write(&self.logs.source, entry);
    }

    fn memory_peak_bytes(&mut self) -> u64 {
        self.equipment.as_ref().and_then(|equipment| equipment.sandbox.memory_peak_bytes().ok()).unwrap_or(0)
    }

    fn ran_out_of_memory(&mut self) -> bool {
        let usage = self.equipment.as_ref().and_then(|equipment| equipment.sandbox.usage().ok());
        usage.is_some_and(|usage| usage.oom_kills > 0)
    }

    fn snapshot(&mut self) {
        self.wishes.snapshot = true;
    }

    fn freeze(&mut self) {
        self.wishes.freeze = true;
    }

    fn thaw(&mut self) {
        self.wishes.thaw = true;
    }

    fn end_of_init(&mut self) {
        self.wishes.end_of_init = true;
    }
}
