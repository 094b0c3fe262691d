//! A launcher to measure with, and what it is told to start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hearth_domain::limits::{SANDBOX_MAX_OPEN_FILES, SANDBOX_MAX_PROCESSES};
use hearth_microvm::jail::{JailConfig, JailLauncher};
use hearth_microvm::kvm::{KvmConfig, KvmLauncher};
use hearth_microvm::process::{ProcessConfig, ProcessLauncher};
use hearth_microvm::{BootSpec, Isolation, Launcher, Limits, RestoreSpec, Sandbox};
use tempfile::TempDir;

use super::Options;
use super::dialogue::Dialogue;
use super::function::Function;

/// Memory of a microVM beyond what is asked for, MiB: what a worker adds.
const GUEST_KERNEL_MIB: u32 = 32;
const BYTES_PER_MIB: u64 = 1 << 20;

/// See the module.
pub(super) struct Bed {
    pub(super) launcher: Arc<dyn Launcher>,
    pub(super) memory_mib: u32,
    shim: PathBuf,
    image: Option<String>,
    directory: TempDir,
    /// What is called in each sandbox, if anything is.
    function: Option<Function>,
}

impl Bed {
    /// A launcher of this kind.
    pub(super) fn make(isolation: Isolation, options: &Options) -> Result<Self> {
        let directory = match &options.state {
            Some(parent) => TempDir::new_in(parent),
            None => TempDir::new(),
        };
        let directory = directory.context("make a directory for the sandboxes' state")?;
        let state = directory.path().join("sandboxes");
        let kvm = || -> Result<KvmLauncher> {
            let images = options.guest_images.clone().map_or_else(|| beside("guest-images"), Ok)?;
            let config = KvmConfig::new(&state, beside("hearth-vmm")?, images);
            let console_dir = options.consoles.clone();
            Ok(KvmLauncher::new(KvmConfig { spares: options.spares, console_dir, ..config })?)
        };
        let is_machine = isolation == Isolation::Kvm;
        let launcher: Arc<dyn Launcher> = match isolation {
            Isolation::Kvm => Arc::new(kvm()?),
            Isolation::Jail => Arc::new(JailLauncher::new(JailConfig::new(&state))?),
            Isolation::Process => Arc::new(ProcessLauncher::new(ProcessConfig { state_dir: state })?),
        };
        for missing in launcher.unenforced() {
            eprintln!("hearth-bench: {isolation}: not enforced here: {}: {}", missing.what, missing.why);
        }
        let function = options.call.then(|| Function::make(&*launcher, &options.image, directory.path()));
        Ok(Self {
            function: function.transpose()?,
            launcher,
            memory_mib: options.memory + if is_machine { GUEST_KERNEL_MIB } else { 0 },
            shim: beside("hearth-shim")?,
            image: is_machine.then(|| options.image.clone()),
            directory,
        })
    }

    /// Boots sandbox `id` and waits for its shim. With a directory for a snapshot if it is to be one.
    pub(super) async fn boot(&self, id: &str, snapshot_into: Option<PathBuf>) -> Result<(Box<dyn Sandbox>, Dialogue)> {
        let mut args = Vec::new();
        if self.launcher.isolation() == Isolation::Process {
            args.extend(["--runtime-api".into(), "127.0.0.1:0".into()]);
        }
        if let Some((uid, gid)) = self.launcher.user() {
            args.extend(["--user".into(), format!("{uid}:{gid}").into()]);
        }
        let (mut env, mut read_only) = (vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())], Vec::new());
        if let Some(function) = &self.function {
            env = Function::start_variables();
            read_only.push((function.runtime_dir.clone(), "/var/runtime".into()));
            if !function.command.is_empty() {
                args.push("--command".into());
                args.extend(function.command.iter().cloned());
            }
        }
        let spec = BootSpec {
            id: id.to_owned(),
            init: self.shim.clone(),
            args,
            env,
            read_only,
            limits: self.limits(),
            image: self.image.clone(),
            snapshot_into,
        };
        let mut sandbox = self.launcher.boot(spec).await?;
        let dialogue = Dialogue::with(&mut *sandbox)?;
        Ok((sandbox, dialogue))
    }

    /// Boots one sandbox and makes it a snapshot.
    pub(super) async fn snapshot(&self) -> Result<PathBuf> {
        let (mut sandbox, _dialogue, snapshot) = self.at_rest().await?;
        sandbox.snapshot().await?;
        sandbox.kill().await?;
        Ok(snapshot)
    }

    /// Boots one sandbox up to where its snapshot is to be taken, and says where that will be. Its channel stays open
    /// meanwhile: closed, it would be the end of the sandbox, in the snapshot, too.
    pub(super) async fn at_rest(&self) -> Result<(Box<dyn Sandbox>, Dialogue, PathBuf)> {
        let isolation = self.launcher.isolation();
        ensure!(self.launcher.has_snapshots(), "{isolation} sandboxes have no snapshots: use --isolation kvm");
        let into = self.directory.path().join("snapshot");
        let (sandbox, mut dialogue) = self.boot("bench-origin", Some(into.clone())).await?;
        dialogue.ready().await?;
        dialogue.prepare_snapshot().await?;
        Ok((sandbox, dialogue, into))
    }

    /// Gives a sandbox its function and has it answer once, if there is a function.
    pub(super) async fn call(&self, sandbox: &mut dyn Sandbox, dialogue: &mut Dialogue) -> Result<Option<Answered>> {
        let Some(function) = &self.function else { return Ok(None) };
        let task_root = sandbox.attach_code(&function.code).await.context("attach the code")?;
        let attached = Instant::now();
        let limits = self.image.is_some().then(|| self.limits());
        dialogue.init(function.init(&task_root, limits)).await?;
        let initialized = Instant::now();
        dialogue.call(function.call()).await?;
        Ok(Some(Answered { attached, initialized, answered: Instant::now() }))
    }

    /// Restores sandbox `id` from a snapshot and waits until it is itself.
    pub(super) async fn restore(&self, id: &str, snapshot: &Path) -> Result<(Box<dyn Sandbox>, Dialogue)> {
        let spec = RestoreSpec {
            id: id.to_owned(),
            snapshot: snapshot.to_owned(),
            limits: self.limits(),
            snapshot_into: None,
        };
        let mut sandbox = self.launcher.restore(spec).await?;
        let mut dialogue = Dialogue::with(&mut *sandbox)?;
        dialogue.restored(id).await?;
        Ok((sandbox, dialogue))
    }

    fn limits(&self) -> Limits {
        Limits {
            memory_bytes: u64::from(self.memory_mib) * BYTES_PER_MIB,
            milli_cpus: 1_000,
            max_processes: SANDBOX_MAX_PROCESSES,
            max_open_files: SANDBOX_MAX_OPEN_FILES,
            tmp_bytes: 64 * BYTES_PER_MIB,
        }
    }
}

/// When a sandbox had which part of its first call behind it.
pub(super) struct Answered {
    /// The code is attached.
    pub(super) attached: Instant,
    /// The function is loaded.
    pub(super) initialized: Instant,
    /// The answer is here.
    pub(super) answered: Instant,
}

pub(super) fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe().context("find this program")?.with_file_name(name);
    ensure!(
        path.exists(),
        "{} is not there: it belongs beside hearth-bench (`make build` puts it there)",
        path.display()
    );
    Ok(path)
}
