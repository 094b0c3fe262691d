//! The one task that owns the sandbox: hears everything, asks the life cycle, does what it says.
//!
//! Invariants: actions are done in the order in which they were decided; nothing else is heard meanwhile; whatever way
//! [`run`] ends, no process of the sandbox is left.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hearth_domain::Moment;
use hearth_guest_protocol::{GuestError, GuestMessage, Init, Log, Restore, host_message};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::channel::{self, ChannelError};
use crate::config::Config;
use crate::guest::{Guest, SetupError};
use crate::lifecycle::{Action, Lifecycle, OutOfTurn, Phase};
use crate::log_meter::LogMeter;
use crate::output::Output;
use crate::processes;
use crate::runtime::{Runtime, Starter};
use crate::runtime_api::{self, AnswerSource, Awaited, Heard, Request, RuntimeApi, Waiting};

/// Time between the two signals when the shim itself is asked to end.
const TERM_GRACE: Duration = Duration::from_millis(500);

/// Time in which a runtime whose connection broke within an answer may turn out to have died.
const DEATH_GRACE: Duration = Duration::from_millis(200);

/// The shim can't go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A step of the start failed.
    #[error("{step}: {source}")]
    Start {
        /// Which step.
        step: &'static str,
        /// The operating system's word.
        source: io::Error,
    },
    /// The channel is of no more use.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The worker broke the protocol.
    #[error(transparent)]
    OutOfTurn(#[from] OutOfTurn),
    /// The microVM could not be brought to rest, or not made another.
    #[error("around a snapshot: {0}")]
    Snapshot(#[from] SetupError),
    /// The pipe of the runtime's output failed.
    #[error("the runtime's output: {0}")]
    Output(#[source] io::Error),
}

/// Runs the sandbox until the worker ends it or closes the channel, a stream socket of whatever family. `guest` is the
/// microVM around it, if that is what it is.
pub fn run(config: Config, channel: OwnedFd, guest: Option<Guest>) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| RunError::Start { step: "event loop", source })?;
    // A task of its own, as whom it talks to are tasks: one that wakes another is then followed by it at once, where
    // the runtime's first future would have its turn only after a look at all descriptors.
    let supervised = async move { tokio::spawn(supervise(config, channel, guest)).await };
    runtime.block_on(supervised).unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

async fn supervise(config: Config, channel: OwnedFd, guest: Option<Guest>) -> Result<(), RunError> {
    let mut supervisor = Supervisor::start(config, channel, guest).await?;
    let ended = supervisor.serve().await;
    processes::end_everybody(&mut supervisor.deaths).await;
    ended
}

struct Supervisor {
    lifecycle: Lifecycle<Waiting>,
    actions: Vec<Action<Waiting>>,
    started: std::time::Instant,
    guest: Option<Guest>,
    worker: mpsc::Receiver<Result<host_message::Kind, ChannelError>>,
    to_worker: channel::Sender,
    api: RuntimeApi,
    starter: Starter,
    runtime: Option<Runtime>,
    output: Output,
    meter: LogMeter,
    /// The answer that the runtime is sending.
    answer: Option<AnswerSource>,
    /// When everything is killed, once the end was asked for.
    end_by: Option<Instant>,
    deaths: SignalStream,
    terminations: SignalStream,
}

/// What woke the supervisor.
enum Wake {
    Worker(Option<Result<host_message::Kind, ChannelError>>),
    Request(Request),
    Answer(Heard),
    Output(Option<Log>),
    Warm,
    Deaths,
    Terminate,
    EndBy,
}

impl Supervisor {
    async fn start(config: Config, channel: OwnedFd, mut guest: Option<Guest>) -> Result<Self, RunError> {
        let started = std::time::Instant::now();
        let failed = |step| move |source| RunError::Start { step, source };
        processes::take_charge().map_err(failed("process settings"))?;
        let deaths = signal(SignalKind::child()).map_err(failed("SIGCHLD"))?;
        let terminations = signal(SignalKind::terminate()).map_err(failed("SIGTERM"))?;
        // Reading, writing and shutting down are the same for every stream socket; nothing else is done to it.
        let (from_worker, to_worker) = channel::split(UnixStream::from(channel)).map_err(failed("channel"))?;
        let api = RuntimeApi::listen(config.runtime_api).await.map_err(failed("listening for the Runtime API"))?;
        let output = Output::new().map_err(failed("pipe"))?;
        let (is_pre_started, wanted) = (!config.command.is_empty(), config.wanted);
        let mut starter = Starter::new(config, api.address());
        let mut boot_phases = Vec::new();
        if let Some(guest) = &mut guest {
            boot_phases = std::mem::take(&mut guest.phases);
            starter.confine_to(guest.members().map_err(failed("control group"))?);
            if is_pre_started && !wanted {
                guest.set_clock_ahead().map_err(failed("clock"))?;
                starter.cloned();
            }
        }
        let runtime = starter.pre_start(&output).map_err(failed("starting the language runtime"))?;
        let mut actions = Vec::new();
        let lifecycle = Lifecycle::new(runtime.is_some(), wanted, boot_phases, &mut actions);
        let (worker_sender, worker) = mpsc::channel(1);
        tokio::spawn(hear_worker(from_worker, worker_sender));
        Ok(Self {
            lifecycle,
            actions,
            started,
            guest,
            worker,
            to_worker,
            api,
            starter,
            runtime,
            output,
            meter: LogMeter::new(),
            answer: None,
            end_by: None,
            deaths,
            terminations,
        })
    }

    async fn serve(&mut self) -> Result<(), RunError> {
        loop {
            self.act().await?;
            match self.wake().await? {
                Wake::Worker(None) | Wake::EndBy => return Ok(()),
                Wake::Worker(Some(message)) => self.on_message(message?)?,
                Wake::Request(request) => self.on_request(request),
                Wake::Answer(heard) => self.on_answer(heard).await?,
                Wake::Output(log) => self.send_log(log).await?,
                Wake::Warm => {
                    self.set_clock_right()?;
                    self.lifecycle.on_warm(&mut self.actions);
                }
                Wake::Deaths => self.on_deaths()?,
                Wake::Terminate => self.end_within(TERM_GRACE),
            }
            if self.end_by.is_some() && self.runtime.is_none() {
                return self.turn_log(String::new()).await;
            }
        }
    }

    async fn wake(&mut self) -> Result<Wake, RunError> {
        let warming = self.lifecycle.phase() == Phase::Booting;
        let at_rest = self.lifecycle.phase().is_at_rest();
        let may_stream = self.lifecycle.may_stream();
        let wake = tokio::select! {
            message = self.worker.recv() => Wake::Worker(message),
            request = self.api.request() => Wake::Request(request),
            heard = heard(&mut self.answer), if may_stream => Wake::Answer(heard),
            data = self.output.read(), if !at_rest => Wake::Output(self.meter.take(data.map_err(RunError::Output)?)),
            () = warm(&mut self.runtime), if warming => Wake::Warm,
            _ = self.deaths.recv() => Wake::Deaths,
            _ = self.terminations.recv() => Wake::Terminate,
            () = until(self.end_by) => Wake::EndBy,
        };
        Ok(wake)
    }

    fn on_message(&mut self, message: host_message::Kind) -> Result<(), RunError> {
        // What the worker sent before it heard of the end has lost its addressee.
        let over = self.lifecycle.phase() == Phase::Over;
        match message {
            host_message::Kind::Shutdown(shutdown) => {
                self.end_within(Duration::from_millis(u64::from(shutdown.grace_ms)));
            }
            _ if over => {}
            host_message::Kind::Init(init) => {
                self.keep_time(init.unix_ms)?;
                self.lifecycle.on_init(self.now(), init, &mut self.actions)?;
            }
            host_message::Kind::Invoke(invoke) => {
                self.keep_time(invoke.unix_ms)?;
                self.lifecycle.on_invoke(invoke, &mut self.actions)?;
            }
            host_message::Kind::StreamCredit(credit) => self.lifecycle.on_credit(&credit),
            host_message::Kind::PrepareSnapshot(_) => self.lifecycle.on_prepare_snapshot(&mut self.actions)?,
            host_message::Kind::Restore(restore) => {
                self.lifecycle.on_restore(self.now(), restore, &mut self.actions)?;
            }
        }
        Ok(())
    }

    fn on_request(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Next(waiting) => {
                if let Err((waiting, refusal)) = self.lifecycle.on_next(now, waiting, &mut self.actions) {
                    waiting.answer(Err(refusal));
                }
            }
            Request::RestoreNext(waiting) => {
                if let Err((waiting, refusal)) = self.lifecycle.on_restore_next(now, waiting, &mut self.actions) {
                    waiting.answer(Err(refusal));
                }
            }
            Request::RestoreError { error, reply } => {
                let _ = reply.send(self.lifecycle.on_restore_error(now, error, &mut self.actions));
            }
            Request::Answer { request_id, kind, streams, permit } => {
                let permitted = self.lifecycle.on_answer_begins(&request_id, kind).map(|()| {
                    let (sink, source) = runtime_api::answer(streams && self.lifecycle.wants_stream());
                    self.answer = Some(source);
                    sink
                });
                let _ = permit.send(permitted);
            }
            Request::InitError { error, reply } => {
                let _ = reply.send(self.lifecycle.on_init_error(now, error, &mut self.actions));
            }
        }
    }

    async fn on_answer(&mut self, heard: Heard) -> Result<(), RunError> {
        let taken = match heard {
            Heard::Start { content_type } => {
                self.lifecycle.on_stream_start(content_type, &mut self.actions);
                return Ok(());
            }
            Heard::Chunk(data) => {
                self.lifecycle.on_stream_chunk(data, &mut self.actions);
                return Ok(());
            }
            Heard::Aborted => {
                self.answer = None;
                if self.lifecycle.streams() {
                    self.wait_for_death().await?;
                }
                self.lifecycle.on_answer_aborted(&mut self.actions);
                return Ok(());
            }
            Heard::End { error, taken } => {
                self.lifecycle.on_stream_end(error, &mut self.actions);
                taken
            }
            Heard::Whole { outcome, taken } => {
                self.lifecycle.on_answer(outcome, &mut self.actions);
                taken
            }
        };
        self.answer = None;
        self.act().await?;
        let _ = taken.send(());
        Ok(())
    }

    /// A process that dies closes its connections first. Its end says more than a connection that broke.
    async fn wait_for_death(&mut self) -> Result<(), RunError> {
        let deadline = Instant::now() + DEATH_GRACE;
        while self.runtime.is_some() && tokio::time::timeout_at(deadline, self.deaths.recv()).await.is_ok() {
            self.on_deaths()?;
        }
        Ok(())
    }

    fn on_deaths(&mut self) -> Result<(), RunError> {
        while let Some((pid, exit)) = processes::reap() {
            if self.runtime.as_ref().is_some_and(|runtime| runtime.pid == pid) {
                self.runtime = None;
                self.set_clock_right()?;
                self.lifecycle.on_exit(self.now(), exit, &mut self.actions);
                // What it left running has nobody left to answer to.
                processes::kill_everybody();
            }
        }
        Ok(())
    }

    fn end_within(&mut self, grace: Duration) {
        if let Some(runtime) = &self.runtime {
            runtime.terminate();
        }
        let end_by = Instant::now() + grace;
        self.end_by = Some(self.end_by.map_or(end_by, |earlier| earlier.min(end_by)));
    }

    async fn act(&mut self) -> Result<(), RunError> {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Send(message) => self.send(&message).await?,
                    Action::TurnLog { to } => self.turn_log(to).await?,
                    Action::Bind(init) => self.bind(init).await,
                    Action::Deliver { poll, invocation } => poll.answer(Ok(Awaited::Invocation(invocation))),
                    Action::Rest { bound } => self.rest(bound)?,
                    Action::Become(restore) => {
                        self.become_another(&restore)?;
                        self.lifecycle.on_another(self.now(), &mut self.actions);
                    }
                    Action::DeliverRestore { poll, environment } => {
                        poll.answer(Ok(Awaited::Restore(environment)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends a message, and before one that ends something what was used until then.
    async fn send(&mut self, message: &GuestMessage) -> Result<(), RunError> {
        if let (Some(guest), Some(kind)) = (&self.guest, &message.kind)
            && let Some(stats) = guest.stats_before(kind)
        {
            self.to_worker.send(&stats.into()).await?;
        }
        Ok(self.to_worker.send(message).await?)
    }

    async fn turn_log(&mut self, to: String) -> Result<(), RunError> {
        let mut left = self.output.pending().map_err(RunError::Output)?;
        while left > 0 {
            let data = self.output.read_now(left).map_err(RunError::Output)?;
            if data.is_empty() {
                break;
            }
            left -= data.len();
            let log = self.meter.take(data);
            self.send_log(log).await?;
        }
        let note = self.meter.turn(to);
        self.send_log(note).await
    }

    async fn send_log(&mut self, log: Option<Log>) -> Result<(), RunError> {
        match log {
            Some(log) => Ok(self.to_worker.send(&GuestMessage::from(log)).await?),
            None => Ok(()),
        }
    }

    async fn bind(&mut self, init: Init) {
        if let Err(error) = self.admit(&init) {
            let _ = self.lifecycle.on_init_error(self.now(), error, &mut self.actions);
            return;
        }
        if let Some(mut runtime) = self.runtime.take() {
            if self.starter.pre_started_fits(&init) {
                // If it can't be told it has ended, and its exit is the outcome of the init.
                runtime.tell(&self.starter.document(init)).await;
                self.runtime = Some(runtime);
                return;
            }
            runtime.kill();
        }
        match self.starter.start(&init, &self.output) {
            Ok(runtime) => self.runtime = Some(runtime),
            Err(error) => {
                // Refused only if it was over before: then that was told.
                let _ = self.lifecycle.on_init_error(self.now(), error, &mut self.actions);
            }
        }
    }

    /// In a microVM: nothing of the function's runs from here on until [`Self::become_another`].
    fn rest(&mut self, bound: bool) -> Result<(), RunError> {
        match &mut self.guest {
            Some(guest) if bound => Ok(guest.freeze()?),
            _ => Ok(()),
        }
    }

    fn set_clock_right(&mut self) -> Result<(), RunError> {
        let set = self.guest.as_mut().map_or(Ok(()), Guest::set_clock_right);
        set.map_err(|source| RunError::Start { step: "clock", source })
    }

    fn keep_time(&mut self, unix_ms: u64) -> Result<(), RunError> {
        let kept = self.guest.as_mut().map_or(Ok(()), |guest| guest.keep_time(unix_ms));
        kept.map_err(|source| RunError::Start { step: "clock", source })
    }

    /// From here on nothing is as in the sandboxes that were restored from the same snapshot.
    fn become_another(&mut self, restore: &Restore) -> Result<(), RunError> {
        self.starter.cloned();
        match &mut self.guest {
            Some(guest) => Ok(guest.become_another(restore)?),
            None => Ok(()),
        }
    }

    /// In a microVM: puts the function's code and limits in place.
    fn admit(&mut self, init: &Init) -> Result<(), GuestError> {
        let Some(guest) = &mut self.guest else { return Ok(()) };
        let told = |error: SetupError| crate::guest_error("Sandbox.SetupFailed", &error.to_string());
        guest.admit(init).map_err(told)?;
        let Some(limits) = &init.limits else { return Ok(()) };
        let limited = self.starter.limit_open_files(limits.max_open_files, self.runtime.as_ref());
        limited.map_err(|source| told(SetupError { step: "limit open files".to_owned(), source }))
    }

    fn now(&self) -> Moment {
        Moment::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Reads the channel in a task of its own, one message ahead, so that the worker can always finish writing one even
/// while this side waits for it to read.
async fn hear_worker(
    mut receiver: channel::Receiver,
    messages: mpsc::Sender<Result<host_message::Kind, ChannelError>>,
) {
    while let Some(message) = receiver.receive().await.transpose() {
        let failed = message.is_err();
        if messages.send(message).await.is_err() || failed {
            return;
        }
    }
}

async fn heard(answer: &mut Option<AnswerSource>) -> Heard {
    match answer {
        Some(answer) => answer.hear().await,
        None => std::future::pending().await,
    }
}

async fn warm(runtime: &mut Option<Runtime>) {
    match runtime {
        Some(runtime) => runtime.warm().await,
        None => std::future::pending().await,
    }
}

async fn until(end_by: Option<Instant>) {
    match end_by {
        Some(end_by) => tokio::time::sleep_until(end_by).await,
        None => std::future::pending().await,
    }
}
