//! A program as a plain process of the host: no security boundary. For hosts that allow nothing better, and never
//! chosen by itself.
//!
//! What holds: own session and process group, descriptors, open files, core and file size; a temporary directory of
//! its own in `TMPDIR`; no new privileges; everything it started is found and killed with it, also what left its
//! session: its first process adopts orphans while it lives, and a mark in the environment finds the rest.
//! What doesn't is told by [`ProcessLauncher::unenforced`].
//!
//! There is no mount namespace: what [`BootSpec::read_only`] would show at a path inside is used where it is on the
//! host; arguments and environment values that name the path inside are rewritten.

mod running;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use libc::{RLIMIT_CORE, RLIMIT_FSIZE};
use tokio::runtime::Handle;

use crate::program::{
    default_signals, die_with_parent, execute, limit, limit_open_files, prctl, take_descriptors, text,
};
use crate::sandbox::{BootError, BootSpec, Isolation, Launcher, Sandbox, SandboxError, Unenforced};
use crate::state::State;
use crate::sys::script::{Arg, Script};
use crate::sys::spawn::{SpawnError, Spawned, out_of_the_way, spawn};
use crate::thread::Thread;
use crate::tree;
use running::Running;

/// Environment variable by which a sandbox's processes are known: it holds their temporary directory.
const MARK: &str = "HEARTH_SANDBOX";

/// How a [`ProcessLauncher`] works.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// For this launcher alone; holds temporary directories and lists what runs.
    pub state_dir: PathBuf,
}

/// Starts programs as plain processes.
pub struct ProcessLauncher {
    shared: Arc<Shared>,
}

/// What sandboxes need while they live.
struct Shared {
    state: State,
    /// The parent of all: they die with it.
    starter: Thread<()>,
    undertaker: Thread<()>,
}

impl ProcessLauncher {
    /// Takes the state directory.
    pub fn new(config: ProcessConfig) -> io::Result<Self> {
        let state = State::open(&config.state_dir)?;
        fs::create_dir_all(state.directory().join("tmp"))?;
        let starter = Thread::start("process-starter", || Ok::<_, io::Error>(()))?;
        let undertaker = Thread::start("process-undertaker", || Ok::<_, io::Error>(()))?;
        Ok(Self { shared: Arc::new(Shared { state, starter, undertaker }) })
    }
}

#[async_trait]
impl Launcher for ProcessLauncher {
    fn isolation(&self) -> Isolation {
        Isolation::Process
    }

    fn unenforced(&self) -> Vec<Unenforced> {
        let why = "--isolation process starts function code as a plain process of this user";
        let remedy = "use --isolation jail on a host that allows user namespaces (see `hearth doctor`)";
        let missing = [
            "any security boundary: code can read this user's files, reach the network and see other processes",
            "memory limit",
            "CPU share",
            "process limit",
            "size of the temporary directory (only of each file)",
            "read-only code",
        ];
        let tell = |what: &str| Unenforced { what: what.to_owned(), why: why.to_owned(), remedy: remedy.to_owned() };
        missing.into_iter().map(tell).collect()
    }

    async fn boot(&self, spec: BootSpec) -> Result<Box<dyn Sandbox>, BootError> {
        let spec = spec.checked()?;
        let id = spec.id.clone();
        let failed = |source| BootError { id: id.clone(), step: "boot".to_owned(), source };
        let shared = Arc::clone(&self.shared);
        let runtime = Handle::current();
        // Made on the thread: a sandbox that nobody waits for any more is dropped there, and so killed.
        let boot = move |(): &mut ()| -> Result<Running, BootError> {
            let failed = |SpawnError { step, source }| BootError { id: spec.id.clone(), step, source };
            let (spawned, channel, home) = start(&shared, &spec).map_err(failed)?;
            let _runtime = runtime.enter();
            Running::new(spec.id, spawned, channel, home, shared)
        };
        let running = self.shared.starter.run(boot).await.map_err(failed)??;
        Ok(Box::new(running))
    }

    async fn clean_up(&self) -> Result<usize, SandboxError> {
        let shared = Arc::clone(&self.shared);
        let id = shared.state.directory().display().to_string();
        let cleaned = self.shared.undertaker.run(move |()| clean_up(&shared.state)).await.and_then(|outcome| outcome);
        cleaned.map_err(|source| SandboxError { id, step: "clean up".to_owned(), source })
    }
}

impl Drop for ProcessLauncher {
    fn drop(&mut self) {
        // Sandboxes that were dropped before are gone after; also those whose boot nobody waited for.
        self.shared.starter.settle();
        self.shared.undertaker.settle();
    }
}

/// A sandbox's temporary directory, which is also its mark.
fn home(state: &State, id: &str) -> PathBuf {
    state.directory().join("tmp").join(id)
}

fn clean_up(state: &State) -> io::Result<usize> {
    let sandboxes = state.kill_earlier_sandboxes()?;
    for id in &sandboxes {
        let home = home(state, id);
        tree::kill_marked(&mark(&home));
        if let Err(error) = fs::remove_dir_all(&home)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        state.forget_sandbox(id);
    }
    Ok(sandboxes.len())
}

/// On the thread that is the parent of all. Leaves nothing if it fails.
fn start(shared: &Shared, spec: &BootSpec) -> Result<(Spawned, UnixStream, PathBuf), SpawnError> {
    let step = |name: &'static str| move |error: io::Error| SpawnError::new(name, error);
    let home = home(&shared.state, &spec.id);
    // Fails where another sandbox of this name lives.
    fs::create_dir(&home).map_err(step("make the temporary directory"))?;
    let started = start_in(&home, shared, spec);
    if started.is_err() {
        let _ = fs::remove_dir_all(&home);
        shared.state.forget_sandbox(&spec.id);
    }
    let (spawned, channel) = started?;
    Ok((spawned, channel, home))
}

fn start_in(home: &Path, shared: &Shared, spec: &BootSpec) -> Result<(Spawned, UnixStream), SpawnError> {
    let step = |name: &'static str| move |error: io::Error| SpawnError::new(name, error);
    let (ours, theirs) = UnixStream::pair().map_err(step("socketpair"))?;
    let script = script(rewritten(spec.clone(), home), home, &theirs).map_err(step("prepare"))?;
    let spawned = spawn(script, 0, None, |pid, _| {
        limit_open_files(pid, spec.limits.max_open_files).map_err(step("limit open files"))?;
        shared.state.write_sandbox(&spec.id, pid).map_err(step("write the record"))
    })?;
    Ok((spawned, ours))
}

fn script(spec: BootSpec, home: &Path, channel: &UnixStream) -> io::Result<Script> {
    let mut script = Script::default();
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    take_descriptors(&mut script, out_of_the_way(channel.as_fd())?, out_of_the_way(null)?);
    script.step("setsid", libc::SYS_setsid, []);
    script.step("chdir", libc::SYS_chdir, [Arg::Text(text(home)?)]);
    limit(&mut script, "limit core files", u64::from(RLIMIT_CORE), 0);
    limit(&mut script, "limit file size", u64::from(RLIMIT_FSIZE), spec.limits.tmp_bytes);
    prctl(&mut script, "adopt orphans", libc::PR_SET_CHILD_SUBREAPER, [1, 0]);
    prctl(&mut script, "no new privileges", libc::PR_SET_NO_NEW_PRIVS, [1, 0]);
    default_signals(&mut script);
    die_with_parent(&mut script);
    let program = spec.init.clone();
    execute(&mut script, program, &spec)?;
    Ok(script)
}

/// With host paths in the place of paths inside, the temporary directory and the mark.
fn rewritten(mut spec: BootSpec, home: &Path) -> BootSpec {
    let pairs = std::mem::take(&mut spec.read_only);
    for value in spec.args.iter_mut().chain(spec.env.iter_mut().map(|(_, value)| value)) {
        *value = on_host(value, &pairs);
    }
    spec.env.retain(|(name, _)| name != "TMPDIR" && name != MARK);
    spec.env.push(("TMPDIR".into(), home.into()));
    spec.env.push((MARK.into(), home.into()));
    spec
}

/// A text in which every path of a `:`-separated list that is below a path inside is where it is on the host.
fn on_host(value: &OsStr, pairs: &[(PathBuf, PathBuf)]) -> OsString {
    let parts = value.as_bytes().split(|byte| *byte == b':').map(|part| {
        let path = Path::new(OsStr::from_bytes(part));
        let found = pairs.iter().find_map(|(host, inside)| Some((host, path.strip_prefix(inside).ok()?)));
        match found {
            Some((host, below)) if below.as_os_str().is_empty() => host.clone().into_os_string().into_vec(),
            Some((host, below)) => host.join(below).into_os_string().into_vec(),
            None => part.to_vec(),
        }
    });
    OsString::from_vec(parts.collect::<Vec<_>>().join(&b':'))
}

/// The entry of an environment that marks a sandbox.
fn mark(home: &Path) -> Vec<u8> {
    [MARK.as_bytes(), home.as_os_str().as_bytes()].join(&b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_are_rewritten_to_paths_of_the_host() {
        let pairs = [(PathBuf::from("/data/sdk"), PathBuf::from("/var/runtime"))];
        let rewrite = |text: &str| on_host(OsStr::new(text), &pairs).into_string().unwrap();
        assert_eq!(rewrite("/var/runtime/bootstrap.py"), "/data/sdk/bootstrap.py");
        assert_eq!(rewrite("/usr/lib:/var/runtime"), "/usr/lib:/data/sdk");
        assert_eq!(rewrite("/var/runtimes"), "/var/runtimes");
        assert_eq!(rewrite("-c"), "-c");
    }
}
