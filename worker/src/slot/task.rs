//! The shell of one slot: owns the sandbox, feeds the core, does what it says.

use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::Clock;
use hearth_domain::{FencingToken, FunctionSpec};
use hearth_guest_protocol::guest_message;
use hearth_protocol::worker::{
    FenceRequest, Fenced, InitSlot, InvokeError, InvokeRequest, InvokeResponse, StreamSender,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, warn};

use super::core::{Arrival, Fate, Now, SlotCore};
use super::failure::Violation;
use super::hands::{Equipment, Hands, LogWriter, Wishes, record_prefetch};
use super::prepare::{self, Begin, PrepareError, Prepared, Preparer};
use super::{Host, InitAnswer, SlotView};
use crate::capacity::Reservation;
use crate::channel::ChannelError;
use crate::logs::{LogKey, LogSource};
use crate::pool::now as read_clock;
use crate::runtime::log_stream_name;

/// How long a sandbox that closed its channel gets to end, so that its end can be told.
const END_WAIT: Duration = Duration::from_secs(1);
/// How often a slot's memory and CPU time are measured for the load report.
const USAGE_INTERVAL: Duration = Duration::from_secs(2);

/// Later than every deadline of a slot.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What others ask of a slot.
pub(super) enum Command {
    Invoke(Box<InvokeRequest>, Option<StreamSender>, oneshot::Sender<Result<InvokeResponse, InvokeError>>),
    Fence(FenceRequest, oneshot::Sender<Fenced>),
    Reclaim(FencingToken),
    EndIdle(FencingToken),
    Drain,
    Kill,
}

/// The task of one slot.
pub(super) struct SlotTask {
    core: SlotCore,
    hands: Hands,
    preparer: Preparer,
    function: Arc<FunctionSpec>,
    inbox: mpsc::Receiver<Command>,
    view: watch::Sender<SlotView>,
    host: Arc<Host>,
    _reservation: Reservation,
}

/// What the loop of a slot woke up for.
enum Wake {
    Command(Option<Command>),
    Guest(Result<guest_message::Kind, ChannelError>),
    Sent(Result<(), ChannelError>),
    Taken,
    Deadline,
    Measure,
}

impl SlotTask {
    /// A task for a new slot, and where its init and its view can be read.
    pub(super) fn new(
        host: Arc<Host>,
        request: InitSlot,
        reservation: Reservation,
        inbox: mpsc::Receiver<Command>,
    ) -> (Self, watch::Receiver<Option<InitAnswer>>, watch::Receiver<SlotView>) {
        let InitSlot { slot, token, holder, function } = request;
        let core = SlotCore::new(read_clock(&host.clock), slot, token, holder.clone(), function.clone(), host.bounds);
        let (view, seen) = watch::channel(SlotView {
            slot,
            token,
            holder,
            function: function.function.clone(),
            memory: function.memory,
            state: core.state(),
            memory_bytes: 0,
            cpu: Duration::ZERO,
            idle_since: None,
        });
        let (init, answer) = watch::channel(None);
        let stream = log_stream_name(&function, Clock::unix_ms(), rand::random());
        let group = function.logging.group_of(&function.function.name);
        let key = LogKey { account: function.function.account.clone(), group };
        let stream: Arc<str> = stream.into();
        let logs = LogWriter { host: host.clone(), source: Arc::new(LogSource { key, stream: stream.clone() }) };
        let hands = Hands { logs, init, invocation: None, stream: None, equipment: None, wishes: Wishes::default() };
        let preparer = Preparer::new(host.clone(), function.clone(), stream);
        let task = Self { core, hands, preparer, function, inbox, view, host, _reservation: reservation };
        (task, answer, seen)
    }

    /// Lives the slot's life. When this returns, nothing of its sandbox is left.
    pub(super) async fn run(mut self) {
        self.host.changed.notify_one();
        while self.core.fate() != Fate::Destroy {
            match self.core.fate() {
                Fate::Replace => {
                    self.destroy().await;
                    self.prepare().await;
                }
                Fate::Keep => self.serve().await,
                Fate::Destroy => {}
            }
        }
        self.publish();
        self.destroy().await;
        self.host.changed.notify_one();
    }

    /// Gets a sandbox, hearing commands meanwhile.
    async fn prepare(&mut self) {
        let preparer = self.preparer.clone();
        let preparing = preparer.prepare();
        tokio::pin!(preparing);
        while self.core.fate() == Fate::Replace {
            tokio::select! {
                prepared = &mut preparing => return self.on_prepared(prepared),
                command = self.inbox.recv() => self.on_command(command),
            }
        }
    }

    fn on_prepared(&mut self, prepared: Result<Prepared, PrepareError>) {
        match prepared {
            Ok(Prepared { booted, begin, attach, code, making }) => {
                let (reader, writer) = (booted.channel.reader, booted.channel.writer);
                let (sandbox, origin) = (booted.sandbox, booted.origin);
                self.hands.equipment =
                    Some(Equipment { sandbox, reader, writer, frozen: false, origin, making, _code: code });
                self.host.metrics.cold_start(booted.from_pool);
                let arrival = Arrival { from_pool: booted.from_pool, attach };
                match begin {
                    Begin::Init(init) => self.core.on_prepared(self.now(), arrival, init, &mut self.hands),
                    Begin::Restored(resumed) => self.core.on_restored(self.now(), &resumed, &mut self.hands),
                }
            }
            Err(error) => {
                warn!(function = %self.function.function, %error, "a slot could not be made");
                self.core.on_unprepared(error.to_string(), &mut self.hands);
            }
        }
    }

    /// Feeds the core while its sandbox stays.
    async fn serve(&mut self) {
        let mut measure = interval_at(Instant::now() + USAGE_INTERVAL, USAGE_INTERVAL);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Set only to earlier moments: one that comes too early is passed over, and costs less than to set it at each call.
        let alarm = tokio::time::sleep(NEVER);
        tokio::pin!(alarm);
        loop {
            self.grant_wishes().await;
            self.publish();
            if self.core.fate() != Fate::Keep {
                return;
            }
            let deadline =
                self.core.deadline().map(|at| self.host.clock.instant(at.since(hearth_domain::Moment::ORIGIN)));
            if let Some(deadline) = deadline
                && (alarm.is_elapsed() || deadline < alarm.deadline())
            {
                alarm.as_mut().reset(deadline);
            }
            let Some(equipment) = &mut self.hands.equipment else { return };
            let (measures, armed) = (!equipment.frozen, !alarm.is_elapsed());
            let stream = self.hands.stream.as_ref().map(|stream| (stream, self.core.stream_taken()));
            let wake = tokio::select! {
                message = equipment.reader.receive() => Wake::Guest(message),
                command = self.inbox.recv() => Wake::Command(command),
                sent = equipment.writer.flush(), if equipment.writer.pending() => Wake::Sent(sent),
                () = taken(stream) => Wake::Taken,
                () = alarm.as_mut(), if armed => Wake::Deadline,
                _ = measure.tick(), if measures => Wake::Measure,
            };
            self.on_wake(wake).await;
        }
    }

    async fn on_wake(&mut self, wake: Wake) {
        match wake {
            Wake::Command(command) => self.on_command(command),
            Wake::Guest(Ok(message)) => self.core.on_guest(self.now(), message, &mut self.hands),
            Wake::Sent(Ok(())) => {}
            Wake::Guest(Err(error)) | Wake::Sent(Err(error)) => self.on_channel_error(error).await,
            Wake::Taken => {
                let taken = self.hands.stream.as_ref().map_or(0, StreamSender::taken);
                self.core.on_taken(taken, &mut self.hands);
            }
            Wake::Deadline => self.core.on_deadline(self.now(), &mut self.hands),
            Wake::Measure => self.measure(),
        }
    }

    fn on_command(&mut self, command: Option<Command>) {
        let now = self.now();
        match command {
            Some(Command::Invoke(request, stream, answer)) => {
                match self.core.on_invoke(now, *request, stream.is_some(), &mut self.hands) {
                    Ok(()) => (self.hands.stream, self.hands.invocation) = (stream, Some(answer)),
                    // Whoever asked may have left; then nobody needs the refusal.
                    Err(refusal) => drop(answer.send(Err(refusal))),
                }
            }
            Some(Command::Fence(request, answer)) => {
                let fenced = self.core.on_fence(&request, &mut self.hands);
                let _ = answer.send(fenced);
                self.host.changed.notify_one();
            }
            Some(Command::Reclaim(token)) => self.core.on_reclaim(token, &mut self.hands),
            Some(Command::EndIdle(token)) => {
                if self.core.on_memory_short(token, &mut self.hands) {
                    self.host.metrics.ended_for_memory.inc();
                }
            }
            Some(Command::Drain) => self.core.drain(&mut self.hands),
            Some(Command::Kill) | None => self.core.on_kill(now, &mut self.hands),
        }
    }

    /// The sandbox is of no more use. If it ended, how it ended is the answer.
    async fn on_channel_error(&mut self, error: ChannelError) {
        let Some(equipment) = &self.hands.equipment else { return };
        let ended = match error {
            ChannelError::Closed => tokio::time::timeout(END_WAIT, equipment.sandbox.ended()).await.ok(),
            ChannelError::Frame(_) | ChannelError::Empty | ChannelError::Socket(_) => None,
        };
        match ended {
            Some(ended) => self.core.on_ended(self.now(), ended, &mut self.hands),
            None => {
                self.core.on_violation(self.now(), Violation::Channel(error.to_string()), &mut self.hands);
            }
        }
    }

    /// Does what the core asked of the sandbox. What goes out goes last, so that it meets a sandbox that runs.
    async fn grant_wishes(&mut self) {
        let wishes = std::mem::take(&mut self.hands.wishes);
        let Some(equipment) = &mut self.hands.equipment else { return };
        let sandbox = &equipment.sandbox;
        let mut result = Ok(());
        let sizing = self.host.boots.sizing();
        if wishes.end_of_init
            && let Some(limits) = prepare::limits_after_init(sizing, &self.function)
        {
            result = result.and(sandbox.set_limits(limits).await);
        }
        if wishes.answered
            && let Some(origin) = equipment.origin.take()
        {
            record_prefetch(&**sandbox, &origin).await;
        }
        if wishes.freeze {
            // Where the host can't freeze, the sandbox stays within its limits all the same; the launcher's
            // `unenforced` says so.
            match sandbox.pause().await {
                Ok(()) => equipment.frozen = true,
                Err(error) => debug!(%error, "an idle sandbox stays unfrozen"),
            }
        }
        if wishes.thaw && std::mem::take(&mut equipment.frozen) {
            result = result.and(sandbox.resume().await);
        }
        let sent = wishes.outgoing.map_or(Ok(()), |message| equipment.writer.queue(&message));
        if wishes.snapshot {
            let made = match equipment.making.take() {
                Some(making) => {
                    let written = self.host.boots.write_snapshot(&mut *equipment.sandbox, making).await;
                    written.map_err(|error| error.to_string())
                }
                None => Err("nobody said where to".to_owned()),
            };
            if let Err(error) = &made {
                warn!(function = %self.function.function, error, "a version has no snapshot: its init runs each time");
            }
            self.host.boots.version_made(made.is_ok());
            self.core.on_snapshot_over();
            return;
        }
        let fault = result.err().map(|error| error.to_string()).or(sent.err().map(|error| error.to_string()));
        if let Some(fault) = fault {
            self.core.on_violation(self.now(), Violation::Channel(fault), &mut self.hands);
        }
    }

    fn measure(&mut self) {
        let Some(equipment) = &self.hands.equipment else { return };
        if let Ok(usage) = equipment.sandbox.usage() {
            self.view.send_modify(|view| (view.memory_bytes, view.cpu) = (usage.memory_bytes, usage.cpu));
        }
    }

    fn publish(&self) {
        self.view.send_if_modified(|view| {
            let (token, state) = (self.core.token(), self.core.state());
            let changed = (view.token, view.state) != (token, state);
            if view.token != token {
                view.holder = self.core.holder().clone();
            }
            (view.token, view.state) = (token, state);
            view.idle_since = self.core.idle_since();
            changed
        });
    }

    async fn destroy(&mut self) {
        let Some(mut equipment) = self.hands.equipment.take() else { return };
        match equipment.sandbox.kill().await {
            Ok(ended) => debug!(sandbox = equipment.sandbox.id(), ?ended, "sandbox destroyed"),
            Err(error) => warn!(%error, "a sandbox left something behind"),
        }
    }

    fn now(&self) -> Now {
        Now { moment: read_clock(&self.host.clock), unix_ms: Clock::unix_ms() }
    }
}

/// Resolves when the caller has taken more of a streamed answer than was seen.
async fn taken(stream: Option<(&StreamSender, u64)>) {
    match stream {
        Some((stream, seen)) => stream.moved(seen).await,
        None => std::future::pending().await,
    }
}
