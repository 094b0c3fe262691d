//! A function to call in a bare sandbox: what starts its language, its code, and the words with which a worker has it
//! run. It answers with what it was asked.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use hearth_guest_protocol::{EnvironmentVariable, GuestLimits, Init, Invoke};
use hearth_microvm::{Launcher, Limits};

use super::bed::beside;

/// Where sandboxes see the bootstraps, as a worker shows them.
const RUNTIME_DIR: &str = "/var/runtime";
const PYTHON_BOOTSTRAP: &[u8] = include_bytes!("../../../../../sdk/python/bootstrap.py");
const NODE_BOOTSTRAP: &[u8] = include_bytes!("../../../../../sdk/nodejs/bootstrap.cjs");
const PYTHON_ECHO: &[u8] = b"def handler(event, context):\n    return event\n";
const NODE_ECHO: &[u8] = b"exports.handler = async (event) => event;\n";
/// What is asked.
const QUESTION: &[u8] = b"{\"question\":1}";
/// Longest run of one call, milliseconds: an emulated machine takes its time.
const CALL_MAX_MS: u64 = 120_000;

/// See the module.
pub(super) struct Function {
    /// What the shim starts ahead; empty if nothing is.
    pub(super) command: Vec<OsString>,
    /// The bootstraps on the host.
    pub(super) runtime_dir: PathBuf,
    /// Its code as [`hearth_microvm::Sandbox::attach_code`] takes it.
    pub(super) code: PathBuf,
}

impl Function {
    /// For sandboxes with this image, its files in `directory`. For images that are no language's, its program is the
    /// file `bootstrap` beside this one (`cargo rustc --release -p echo-rust --bin bootstrap -- -C target-feature=+crt-static`).
    pub(super) fn make(launcher: &dyn Launcher, image: &str, directory: &Path) -> Result<Self> {
        let (runtime_dir, code) = (directory.join("runtime"), directory.join("code"));
        fs::create_dir_all(&runtime_dir)?;
        fs::create_dir_all(&code)?;
        let found = launcher.images().into_iter().find(|found| found.name == image);
        let interpreter = found.and_then(|found| found.interpreter);
        let interpreter = |program: &str| interpreter.unwrap_or_else(|| Path::new("/usr/bin").join(program));
        let command: Vec<OsString> = if image.starts_with("python") {
            fs::write(runtime_dir.join("bootstrap.py"), PYTHON_BOOTSTRAP)?;
            fs::write(code.join("app.py"), PYTHON_ECHO)?;
            vec![interpreter(image).into(), format!("{RUNTIME_DIR}/bootstrap.py").into()]
        } else if image.starts_with("nodejs") {
            fs::write(runtime_dir.join("bootstrap.cjs"), NODE_BOOTSTRAP)?;
            fs::write(code.join("app.js"), NODE_ECHO)?;
            vec![interpreter("node").into(), format!("{RUNTIME_DIR}/bootstrap.cjs").into()]
        } else {
            let program = code.join("bootstrap");
            fs::copy(beside("bootstrap")?, &program).context("copy the function's program")?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
            Vec::new()
        };
        let code = launcher.prepare_code(&code).context("make the code ready")?;
        Ok(Self { command, runtime_dir, code })
    }

    /// What a process of this language sees from its start, whatever the function.
    pub(super) fn start_variables() -> Vec<(OsString, OsString)> {
        START_VARIABLES.map(|(name, value)| (name.into(), value.into())).into()
    }

    /// Tells who the function is.
    pub(super) fn init(&self, task_root: &Path, limits: Option<Limits>) -> Init {
        let own = [("_HANDLER", "app.handler"), ("AWS_LAMBDA_FUNCTION_NAME", "bench"), ("PYTHONPATH", RUNTIME_DIR)];
        let variables = START_VARIABLES.into_iter().chain(own).map(|(name, value)| (name, value.to_owned()));
        let task_root = task_root.display().to_string();
        let variables = variables.chain([("LAMBDA_TASK_ROOT", task_root.clone())]);
        Init {
            environment: variables.map(|(name, value)| EnvironmentVariable { name: name.to_owned(), value }).collect(),
            handler: "app.handler".to_owned(),
            function_name: "bench".to_owned(),
            task_root,
            limits: limits.map(|limits| GuestLimits {
                memory_bytes: limits.memory_bytes,
                tmp_bytes: limits.tmp_bytes,
                max_processes: limits.max_processes,
                max_open_files: limits.max_open_files,
            }),
            snap_start: false,
            unix_ms: unix_ms(),
            layers_in_code: false,
        }
    }

    /// Asks it.
    pub(super) fn call(&self) -> Invoke {
        let unix_ms = unix_ms();
        Invoke {
            request_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            payload: Bytes::from_static(QUESTION),
            deadline_unix_ms: unix_ms + CALL_MAX_MS,
            invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:bench".to_owned(),
            client_context: String::new(),
            trace_id: String::new(),
            streaming: false,
            unix_ms,
        }
    }
}

/// As a worker's (`worker::runtime::environment`): another value would cost a new process.
const START_VARIABLES: [(&str, &str); 4] = [
    ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
    ("LD_LIBRARY_PATH", "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"),
    ("LANG", "en_US.UTF-8"),
    ("TZ", ":UTC"),
];

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}
