//! The part of the life cycle that is about snapshots: coming to rest, and being another sandbox afterwards.

use hearth_domain::Moment;
use hearth_guest_protocol::{GuestError, Restore, Restored, SnapshotReady};

use super::{Action, Event, Lifecycle, OutOfTurn, Phase, Poll, Refusal};

impl<P: Poll> Lifecycle<P> {
    /// The worker is about to take a snapshot.
    pub fn on_prepare_snapshot(&mut self, out: &mut Vec<Action<P>>) -> Result<(), OutOfTurn> {
        let phase = self.step_for_worker(Event::PrepareSnapshot)?;
        out.push(Action::Rest { bound: phase != Phase::PooledAtRest });
        out.push(Action::TurnLog { to: String::new() });
        out.push(Action::Send(SnapshotReady { error: None }.into()));
        Ok(())
    }

    /// This is another sandbox now.
    pub fn on_restore(&mut self, now: Moment, restore: Restore, out: &mut Vec<Action<P>>) -> Result<(), OutOfTurn> {
        self.step_for_worker(Event::Restore)?;
        self.began = now;
        self.environment.clone_from(&restore.environment);
        out.push(Action::Become(restore));
        Ok(())
    }

    /// [`Action::Become`] is done.
    pub fn on_another(&mut self, now: Moment, out: &mut Vec<Action<P>>) {
        if self.phase == Phase::Restoring {
            self.deliver_restore(out);
        } else {
            self.restored(now, None, out);
        }
    }

    /// The runtime has run its before-snapshot hooks and asks to be told of the restore. The first time this ends the
    /// init. Only where a snapshot is wanted: elsewhere it would wait for ever.
    pub fn on_restore_next(&mut self, now: Moment, poll: P, out: &mut Vec<Action<P>>) -> Result<(), (P, Refusal)> {
        let before = self.phase;
        if !self.snap_start || self.step(Event::RestoreNext).is_none() {
            return Err((poll, self.refusal(Event::RestoreNext)));
        }
        if before == Phase::Initializing {
            self.init_done(now, None, out);
        }
        self.polls.clear();
        self.polls.push_back(poll);
        if self.phase == Phase::Restoring {
            self.deliver_restore(out);
        }
        Ok(())
    }

    /// The runtime reports that its after-restore hooks failed.
    pub fn on_restore_error(
        &mut self,
        now: Moment,
        error: GuestError,
        out: &mut Vec<Action<P>>,
    ) -> Result<(), Refusal> {
        self.step(Event::RestoreError).ok_or_else(|| self.refusal(Event::RestoreError))?;
        self.restored(now, Some(error), out);
        Ok(())
    }

    pub(super) fn restored(&self, now: Moment, error: Option<GuestError>, out: &mut Vec<Action<P>>) {
        out.push(Action::TurnLog { to: String::new() });
        out.push(Action::Send(Restored { duration_us: self.duration_us(now), error }.into()));
    }

    fn deliver_restore(&mut self, out: &mut Vec<Action<P>>) {
        // Whoever hung up asks again.
        if let Some(poll) = self.polls.pop_front() {
            out.push(Action::DeliverRestore { poll, environment: self.environment.clone() });
        }
    }
}
