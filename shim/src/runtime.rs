//! The runtime process: how it is started, and how a pre-started one is told its function.
//!
//! A pre-started runtime holds one end of a socket pair (`HEARTH_INIT_FD`). When its own machinery is imported it writes
//! a line there; then it waits for one JSON document and the end of the stream:
//! `{"environment":{…},"handler":"…","taskRoot":"…","cloned":false}`; `cloned` is true if the process was restored from a
//! snapshot, so that there may be others with the same state: its random numbers have to begin anew. If a function already waits for the sandbox (`HEARTH_WANTED`),
//! nothing is warmed up and no line is written.
//!
//! Some variables have an effect only when a process starts ([`start_only`]). If the function sets one of them, or a
//! wrapper script, the pre-started process is of no use to it and a new one is started with the whole environment.

mod start_only;

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use hearth_domain::limits::SANDBOX_MAX_OPEN_FILES;
use hearth_guest_protocol::{GuestError, Init};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::config::{Config, User};
use crate::output::Output;
use crate::sys::{self, Confinement};

/// Where a custom runtime may lie besides the function's code: a layer.
const LAYER_BOOTSTRAP: &str = "/opt/bootstrap";

/// Starts runtime processes.
#[derive(Debug)]
pub(crate) struct Starter {
    command: Vec<OsString>,
    user: Option<User>,
    wanted: bool,
    environment: Vec<(OsString, OsString)>,
    runtime_api: SocketAddr,
    /// In a microVM: the members of the control group that its processes are to be in.
    cgroup: Option<OwnedFd>,
    /// Open files of a process, where that is for the shim to limit.
    open_files: Option<u64>,
    /// Whether there are other sandboxes in which the pre-started process is the same.
    is_clone: bool,
}

/// A runtime process that was started and not yet reaped.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// Its process id, also its process group and session.
    pub(crate) pid: Pid,
    /// Our end of its socket pair while it waits for its function.
    told_through: Option<UnixStream>,
}

impl Starter {
    /// For this configuration; the Runtime API listens at `runtime_api`.
    pub(crate) fn new(config: Config, runtime_api: SocketAddr) -> Self {
        let Config { command, user, wanted, environment, .. } = config;
        Self { command, user, wanted, environment, runtime_api, cgroup: None, open_files: None, is_clone: false }
    }

    /// In a microVM: processes are to be in this control group, and to open as many files as functions may.
    pub(crate) fn confine_to(&mut self, cgroup: OwnedFd) {
        self.cgroup = Some(cgroup);
        self.open_files = Some(SANDBOX_MAX_OPEN_FILES);
    }

    /// From here on there are, or may be, other sandboxes with the same pre-started process in the same state.
    pub(crate) fn cloned(&mut self) {
        self.is_clone = true;
    }

    /// In a microVM: sets how many files a process may open, also one that runs already.
    pub(crate) fn limit_open_files(&mut self, most: u64, running: Option<&Runtime>) -> io::Result<()> {
        self.open_files = Some(most);
        if let Some(runtime) = running {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            rustix::process::prlimit(Some(runtime.pid), Resource::Nofile, limit)?;
        }
        Ok(())
    }

    /// Starts the language runtime before any function is known. `None` for custom runtimes.
    pub(crate) fn pre_start(&self, output: &Output) -> io::Result<Option<Runtime>> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(None) };
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = OwnedFd::from(theirs);
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("HEARTH_INIT_FD", std::os::fd::AsRawFd::as_raw_fd(&theirs).to_string());
        if self.wanted {
            command.env("HEARTH_WANTED", "1");
        }
        let pid = self.spawn(command, output, Some(&theirs))?;
        Ok(Some(Runtime { pid, told_through: Some(UnixStream::from_std(ours)?) }))
    }

    /// Whether a pre-started process can serve this function.
    pub(crate) fn pre_started_fits(&self, init: &Init) -> bool {
        start_only::fits(&self.environment, &init.environment)
    }

    /// Starts the runtime for a known function.
    pub(crate) fn start(&self, init: &Init, output: &Output) -> Result<Runtime, GuestError> {
        let mut command = if self.command.is_empty() {
            Command::new(custom_bootstrap(Path::new(&init.task_root))?)
        } else {
            self.managed_command(init)
        };
        command.env_clear().env("_HANDLER", &init.handler).env("LAMBDA_TASK_ROOT", &init.task_root);
        command.envs(init.environment.iter().map(|variable| (&variable.name, &variable.value)));
        command.current_dir(&init.task_root);
        let program = command.get_program().to_owned();
        let wrapped = !self.command.is_empty() && wrapper(init).is_some();
        let refused = |error| if wrapped { wrapper_failed(&error) } else { not_executable(&program, &error) };
        let pid = self.spawn(command, output, None).map_err(refused)?;
        Ok(Runtime { pid, told_through: None })
    }

    /// What a pre-started runtime is told.
    pub(crate) fn document(&self, init: Init) -> Vec<u8> {
        let mut environment = serde_json::Map::new();
        for variable in init.environment {
            environment.insert(variable.name, variable.value.into());
        }
        environment.insert("AWS_LAMBDA_RUNTIME_API".to_owned(), self.runtime_api.to_string().into());
        let document = serde_json::json!({
            "environment": environment, "handler": init.handler, "taskRoot": init.task_root,
            "cloned": self.is_clone,
        });
        document.to_string().into_bytes()
    }

    fn managed_command(&self, init: &Init) -> Command {
        let mut line = wrapper(init).map(OsString::from).into_iter().chain(self.command.clone());
        let mut command = Command::new(line.next().unwrap_or_default());
        command.args(line);
        command
    }

    fn spawn(&self, mut command: Command, output: &Output, kept: Option<&OwnedFd>) -> io::Result<Pid> {
        command.env("AWS_LAMBDA_RUNTIME_API", self.runtime_api.to_string());
        command.stdin(Stdio::null()).stdout(output.writer()?).stderr(output.writer()?);
        let cgroup = self.cgroup.as_ref();
        let confinement = Confinement { user: self.user, kept, cgroup, open_files: self.open_files };
        let child = sys::spawn_confined(command, confinement)?;
        Ok(Pid::from_child(&child))
    }
}

impl Runtime {
    /// Waits until the pre-started process says that it is warm. Pending for ever for any other. Safe to cancel.
    pub(crate) async fn warm(&mut self) {
        if let Some(stream) = &mut self.told_through {
            let mut said = [0; 64];
            if matches!(stream.read(&mut said).await, Ok(1..)) {
                return;
            }
        }
        // It closed its end without a word: its exit is what will be heard of it.
        std::future::pending().await
    }

    /// Tells the pre-started process its function. Whether it could be told.
    pub(crate) async fn tell(&mut self, document: &[u8]) -> bool {
        let Some(mut stream) = self.told_through.take() else { return false };
        stream.write_all(document).await.is_ok() && stream.shutdown().await.is_ok()
    }

    /// Asks it, and all it started in its process group, to end.
    pub(crate) fn terminate(&self) {
        let _ = rustix::process::kill_process_group(self.pid, Signal::TERM);
    }

    /// Ends it, and all it started in its process group.
    pub(crate) fn kill(&self) {
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
    }
}

/// The program that starts a managed runtime in its own way, if the function names one.
fn wrapper(init: &Init) -> Option<&str> {
    let named = init.environment.iter().find(|variable| variable.name == start_only::WRAPPER);
    named.map(|variable| variable.value.as_str()).filter(|program| !program.is_empty())
}

/// A wrapper is started by a shell at AWS, so its failure is the shell's end (LocalStack's recordings,
/// test_lambda_runtime_wrapper_not_found).
fn wrapper_failed(error: &io::Error) -> GuestError {
    let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    crate::guest_error("Runtime.ExitError", &format!("Error: Runtime exited with error: exit status {status}"))
}

fn custom_bootstrap(task_root: &Path) -> Result<OsString, GuestError> {
    let own = task_root.join("bootstrap");
    let found = [own.as_path(), Path::new(LAYER_BOOTSTRAP)].into_iter().find(|path| path.is_file());
    found.map(|path| path.as_os_str().to_owned()).ok_or_else(|| {
        let tried = format!("[{} {LAYER_BOOTSTRAP}]", own.display());
        invalid_entrypoint(&format!("Couldn't find valid bootstrap(s): {tried}"))
    })
}

fn not_executable(program: &OsStr, error: &io::Error) -> GuestError {
    let text = error.to_string().to_lowercase();
    let reason = text.split(" (os error").next().unwrap_or_default();
    invalid_entrypoint(&format!("fork/exec {}: {reason}", program.display()))
}

fn invalid_entrypoint(message: &str) -> GuestError {
    crate::guest_error("Runtime.InvalidEntrypoint", &format!("Error: {message}"))
}
