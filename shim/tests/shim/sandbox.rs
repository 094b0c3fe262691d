//! A real shim process, driven over its channel as a worker drives it. No jail around it: that is another crate's.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use bytes::BytesMut;
use hearth_guest_protocol::guest_message::Kind;
use hearth_guest_protocol::response::Outcome;
use hearth_guest_protocol::{
    EnvironmentVariable, GuestMessage, HostMessage, Init, InitDone, Invoke, Log, PrepareSnapshot,
    RESTORE_ENTROPY_BYTES, Response, Restore, Restored, RuntimeExit, Shutdown, SnapshotReady, decode, encode,
};
use tempfile::TempDir;

/// Longest wait for anything: only ever reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running shim with a task root of its own.
pub(crate) struct Sandbox {
    shim: Child,
    channel: UnixStream,
    buffer: BytesMut,
    task_root: TempDir,
    /// All that was logged so far, by request id, in order.
    pub(crate) logs: Vec<(String, Vec<u8>)>,
    /// Bytes said to have been dropped, in total.
    pub(crate) dropped: u64,
}

impl Sandbox {
    /// Starts a shim for custom runtimes.
    pub(crate) fn custom() -> Self {
        Self::start(&[], &[], &[])
    }

    /// Starts a shim for custom runtimes that run as `user`.
    pub(crate) fn custom_as(user: &str) -> Self {
        Self::start(&["--user", user], &[], &[])
    }

    /// Starts a shim with a pre-started language runtime.
    pub(crate) fn pre_started(command: &[&str]) -> Self {
        Self::start(&[], command, &[])
    }

    /// Starts a shim with these options, and this environment besides `PATH`.
    pub(crate) fn start(options: &[&str], command: &[&str], environment: &[(&str, &str)]) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut shim = Command::new("sh");
        // The channel comes in as standard input and becomes descriptor 3, so that no other test's child inherits it.
        shim.args(["-c", "exec \"$@\" 3<&0 </dev/null", "sh", env!("CARGO_BIN_EXE_hearth-shim")]);
        shim.args(["--runtime-api", "127.0.0.1:0"]).args(options);
        if !command.is_empty() {
            shim.arg("--").args(command);
        }
        shim.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(environment.iter().copied());
        let shim = shim.stdin(OwnedFd::from(theirs)).spawn().unwrap();
        let task_root = TempDir::new().unwrap();
        Self { shim, channel: ours, buffer: BytesMut::new(), task_root, logs: Vec::new(), dropped: 0 }
    }

    /// Where the function's code lies.
    pub(crate) fn task_root(&self) -> &Path {
        self.task_root.path()
    }

    /// Puts a file into the function's code.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.task_root().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Puts an executable into the function's code.
    pub(crate) fn write_executable(&self, name: &str, content: &str) -> PathBuf {
        let path = self.write(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Process id of the shim.
    pub(crate) fn pid(&self) -> u32 {
        self.shim.id()
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: impl Into<HostMessage>) {
        let mut bytes = BytesMut::new();
        encode(&message.into(), &mut bytes).unwrap();
        self.channel.write_all(&bytes).unwrap();
    }

    /// Sends bytes that are no message.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.channel.write_all(bytes).unwrap();
    }

    /// Waits for a log message; the first line of what was logged so far.
    pub(crate) fn first_log_line(&mut self) -> String {
        while !self.log_text().contains('\n') {
            assert!(self.read(), "a line before the end of the channel");
            while let Some(message) = decode::<GuestMessage>(&mut self.buffer).unwrap() {
                match message.kind.unwrap() {
                    Kind::Log(log) => self.keep(log),
                    other => panic!("expected a log, got {other:?}"),
                }
            }
        }
        self.log_text().lines().next().unwrap().to_owned()
    }

    /// The next message that is no log. `None` when the shim has closed the channel.
    pub(crate) fn receive(&mut self) -> Option<Kind> {
        loop {
            while let Some(message) = decode::<GuestMessage>(&mut self.buffer).unwrap() {
                match message.kind.unwrap() {
                    Kind::Log(log) => self.keep(log),
                    other => return Some(other),
                }
            }
            if !self.read() {
                return None;
            }
        }
    }

    fn keep(&mut self, log: Log) {
        self.dropped += log.dropped_bytes;
        self.logs.push((log.request_id, log.data.to_vec()));
    }

    /// Reads some bytes; false when the shim has closed the channel.
    fn read(&mut self) -> bool {
        let mut chunk = vec![0; 1 << 16];
        let length = match self.channel.read(&mut chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            read => read.expect("the shim says something in time"),
        };
        self.buffer.extend_from_slice(&chunk[..length]);
        length > 0
    }

    /// Expects `Ready`; whether a runtime was pre-started.
    pub(crate) fn ready(&mut self) -> bool {
        match self.receive() {
            Some(Kind::Ready(ready)) => ready.runtime_started,
            other => panic!("expected Ready, got {other:?}"),
        }
    }

    /// Whether nothing has come that was not taken yet.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.channel.set_nonblocking(true).unwrap();
        let silent =
            matches!(self.channel.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        self.channel.set_nonblocking(false).unwrap();
        silent && self.buffer.is_empty()
    }

    /// Has the sandbox come to rest, as if a snapshot were taken.
    pub(crate) fn rest(&mut self) {
        self.send(PrepareSnapshot {});
        match self.receive() {
            Some(Kind::SnapshotReady(SnapshotReady { error: None })) => {}
            other => panic!("expected SnapshotReady, got {other:?}; logs: {}", self.log_text()),
        }
    }

    /// Has the sandbox go on, as if it were restored, with these variables; does not wait.
    pub(crate) fn restore(&mut self, environment: &[(&str, &str)]) {
        let environment = variables(environment);
        self.send(Restore { entropy: vec![1; RESTORE_ENTROPY_BYTES].into(), environment, ..Restore::default() });
    }

    /// Expects `Restored`.
    pub(crate) fn restored(&mut self) -> Restored {
        match self.receive() {
            Some(Kind::Restored(restored)) => restored,
            other => panic!("expected Restored, got {other:?}; logs: {}", self.log_text()),
        }
    }

    /// Binds the sandbox to a function that wants a snapshot; does not wait.
    pub(crate) fn init_for_snapshot(&mut self, handler: &str) {
        self.bind(handler, &[("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")], true);
    }

    /// Binds the sandbox to a function; does not wait.
    pub(crate) fn init(&mut self, handler: &str, environment: &[(&str, &str)]) {
        self.bind(handler, environment, false);
    }

    fn bind(&mut self, handler: &str, environment: &[(&str, &str)], snap_start: bool) {
        let task_root = self.task_root().to_str().unwrap().to_owned();
        let mut all = vec![
            ("AWS_LAMBDA_FUNCTION_NAME", "tested"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/tested"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
            ("_HANDLER", handler),
            ("LAMBDA_TASK_ROOT", &task_root),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ];
        all.extend_from_slice(environment);
        let init = Init {
            environment: variables(&all),
            snap_start,
            handler: handler.into(),
            function_name: "tested".into(),
            task_root: task_root.clone(),
            ..Init::default()
        };
        self.send(init);
    }

    /// Expects `InitDone`.
    pub(crate) fn init_done(&mut self) -> InitDone {
        match self.receive() {
            Some(Kind::InitDone(done)) => done,
            other => panic!("expected InitDone, got {other:?}; logs: {}", self.log_text()),
        }
    }

    /// Expects `InitDone` with an error: its type and document.
    pub(crate) fn init_error(&mut self) -> (String, serde_json::Value) {
        let error = self.init_done().error.expect("the init fails");
        (error.error_type, serde_json::from_slice(&error.document).unwrap())
    }

    /// Binds, and expects the init to succeed.
    pub(crate) fn initialized(&mut self, handler: &str) {
        self.init(handler, &[]);
        let done = self.init_done();
        assert_eq!(done.error, None, "{}", self.log_text());
    }

    /// Sends an invocation; does not wait.
    pub(crate) fn invoke(&mut self, request_id: &str, payload: &str) {
        self.send(invocation(request_id, payload));
    }

    /// Expects the response to `request_id`.
    pub(crate) fn response(&mut self, request_id: &str) -> Outcome {
        match self.receive() {
            Some(Kind::Response(Response { request_id: id, outcome: Some(outcome) })) if id == request_id => outcome,
            other => panic!("expected the response to {request_id}, got {other:?}; logs: {}", self.log_text()),
        }
    }

    /// Expects an answer to `request_id`, as text.
    pub(crate) fn raw_answer(&mut self, request_id: &str) -> String {
        match self.response(request_id) {
            Outcome::Payload(payload) => String::from_utf8(payload.to_vec()).unwrap(),
            other => panic!("expected an answer, got {other:?}; logs: {}", self.log_text()),
        }
    }

    /// Expects a JSON answer to `request_id`.
    pub(crate) fn answer(&mut self, request_id: &str) -> serde_json::Value {
        serde_json::from_str(&self.raw_answer(request_id)).unwrap()
    }

    /// Invokes and expects a JSON answer.
    pub(crate) fn call(&mut self, request_id: &str, payload: &str) -> serde_json::Value {
        self.invoke(request_id, payload);
        self.answer(request_id)
    }

    /// Invokes and expects an error: its type and document.
    pub(crate) fn call_failing(&mut self, request_id: &str, payload: &str) -> (String, serde_json::Value) {
        self.invoke(request_id, payload);
        match self.response(request_id) {
            Outcome::Error(error) => (error.error_type, serde_json::from_slice(&error.document).unwrap()),
            other => panic!("expected an error, got {other:?}; logs: {}", self.log_text()),
        }
    }

    /// Expects `RuntimeExit`.
    pub(crate) fn exit(&mut self) -> RuntimeExit {
        match self.receive() {
            Some(Kind::RuntimeExit(exit)) => exit,
            other => panic!("expected RuntimeExit, got {other:?}; logs: {}", self.log_text()),
        }
    }

    /// Everything logged so far as text.
    pub(crate) fn log_text(&self) -> String {
        self.logs.iter().map(|(_, data)| String::from_utf8_lossy(data)).collect()
    }

    /// What was logged for one request.
    pub(crate) fn log_of(&self, request_id: &str) -> String {
        let of = self.logs.iter().filter(|(id, _)| id == request_id);
        of.map(|(_, data)| String::from_utf8_lossy(data)).collect()
    }

    /// Ends the sandbox as a worker does and waits for the shim's end.
    pub(crate) fn shut_down(&mut self, grace_ms: u32) -> ExitStatus {
        self.send(Shutdown { grace_ms });
        while self.receive().is_some() {}
        self.shim.wait().unwrap()
    }

    /// Waits for the shim to end by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        while self.receive().is_some() {}
        self.shim.wait().unwrap()
    }

    /// Closes the channel, as a worker that dies does, and waits for the shim's end.
    pub(crate) fn abandon(&mut self) -> ExitStatus {
        self.channel.shutdown(std::net::Shutdown::Both).unwrap();
        self.shim.wait().unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The end of the channel ends the shim, and the shim ends its sandbox.
        let _ = self.channel.shutdown(std::net::Shutdown::Both);
        let _ = self.shim.wait();
    }
}

fn variables(all: &[(&str, &str)]) -> Vec<EnvironmentVariable> {
    let variable = |(name, value): &(&str, &str)| EnvironmentVariable { name: (*name).into(), value: (*value).into() };
    all.iter().map(variable).collect()
}

/// An invocation as the worker would send it.
pub(crate) fn invocation(request_id: &str, payload: &str) -> Invoke {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Invoke {
        request_id: request_id.into(),
        payload: payload.to_owned().into(),
        deadline_unix_ms: u64::try_from(now.as_millis()).unwrap() + 3_000,
        invoked_arn: "arn:aws:lambda:local:000000000000:function:tested".into(),
        client_context: String::new(),
        trace_id: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0".into(),
        streaming: false,
        unix_ms: 0,
    }
}

/// A command line for Python with our bootstrap.
pub(crate) fn python() -> Vec<&'static str> {
    vec!["python3", concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/python/bootstrap.py")]
}

/// A command line for Node.js with our bootstrap.
pub(crate) fn node() -> Vec<&'static str> {
    vec!["node", concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/nodejs/bootstrap.cjs")]
}

/// A field of a JSON document that is text.
pub(crate) fn text<'a>(document: &'a serde_json::Value, field: &str) -> &'a str {
    document[field].as_str().unwrap_or_else(|| panic!("{field} of {document} is text"))
}
