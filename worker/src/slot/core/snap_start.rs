//! Snapshots after init: at rest, taken, and what comes of them.
//!
//! The happy path: InitDone, PrepareSnapshot goes out (Resting), SnapshotReady comes back, the sandbox is snapshotted and
//! ends (Snapshotting), the slot gets one that was restored from it and is idle at once.

use hearth_domain::{FunctionError, SlotEvent};
use hearth_guest_protocol::SnapshotReady;
use hearth_protocol::worker::InitDone;

use super::guest::checked_error;
use super::{Now, Outbox, Phase, SlotCore};
use crate::platform_log::Event;
use crate::pool::{REST_TIMEOUT, Resumed};
use crate::slot::failure::{self, Violation};
use crate::slot::guest_use::GuestUse;
use crate::usage;

impl SlotCore {
    /// A sandbox is there that came of a snapshot taken after the function's init: it can take a call.
    pub(crate) fn on_restored(&mut self, now: Now, resumed: &Resumed, out: &mut impl Outbox) {
        debug_assert!(matches!(self.phase, Phase::Preparing));
        self.start.on_restored(now.moment, resumed.hooks);
        self.guest_use = GuestUse::default();
        self.tell(now, None, Event::RestoreStart, out);
        for log in &resumed.output {
            // What belongs to a call can't be written before there was one, and is not kept.
            let _ = self.output.take(now.unix_ms, None, log, &mut |entry| out.log(entry));
        }
        self.output.end(now.unix_ms, &mut |entry| out.log(entry));
        self.tell(now, None, Event::RestoreDone { took: resumed.took }, out);
        self.output.begin(false);
        self.unbilled_restore = Some(usage::Restore { took: resumed.took, billed: resumed.hooks });
        self.advance(SlotEvent::Initialized);
        self.phase = Phase::Idle { since: now.moment, frozen: false };
        out.answer_init(Ok(InitDone { times: self.start.times() }));
    }

    /// At rest: nothing is said any more, so the snapshot can be taken.
    pub(super) fn on_snapshot_ready(
        &mut self,
        now: Now,
        ready: SnapshotReady,
        out: &mut impl Outbox,
    ) -> Result<(), Violation> {
        let Phase::Resting { since } = self.phase else { return Err(self.unexpected("SnapshotReady")) };
        if let Some(error) = ready.error {
            let error = checked_error("SnapshotReady", error)?;
            self.fail_init(now, now.moment.since(since), error, false, out);
            return Ok(());
        }
        self.output.end(now.unix_ms, &mut |entry| out.log(entry));
        self.phase = Phase::Snapshotting;
        out.snapshot();
        Ok(())
    }

    /// The snapshot was made, or could not be: either way its sandbox is gone, and the slot gets another.
    pub(crate) fn on_snapshot_over(&mut self) {
        if matches!(self.phase, Phase::Snapshotting) {
            self.phase = Phase::Preparing;
        }
    }

    /// The before-snapshot hooks took too long.
    pub(super) fn fail_rest(&mut self, now: Now, out: &mut impl Outbox) {
        const TYPE: &str = "SnapStartTimeoutException";
        let text = format!("Error: The before-snapshot hooks ran for more than {} seconds", REST_TIMEOUT.as_secs());
        let error = FunctionError { error_type: TYPE.into(), document: failure::document(TYPE, &text).into() };
        self.fail_init(now, REST_TIMEOUT, error, true, out);
    }
}
