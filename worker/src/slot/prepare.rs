//! Gets a sandbox ready for a function: from the pool or booted now, its code attached, its limits set.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::Clock;
use hearth_domain::FunctionSpec;
use hearth_guest_protocol::{EnvironmentVariable, GuestLimits, Init};
use hearth_microvm::{Limits, SandboxError};
use tokio::time::Instant;

use super::Host;
use crate::class::{SandboxClass, Sizing};
use crate::code::{CodeError, CodeLease};
use crate::pool::{BootFailure, Booted, Resumed};
use crate::runtime::{FunctionEnvironment, LAYERS_ROOT, LOG_STREAM_VARIABLE, credential_variables};
use crate::snapshots::Making;

/// CPU that init gets at least, thousandths of one. Lambda lets init run on a full vCPU whatever a function's share
/// is, so that small functions start as fast as large ones (docs/decisions/0041).
const INIT_MIN_MILLI_CPUS: u32 = 1_000;

/// What becomes a slot's sandbox.
pub(super) struct Prepared {
    pub(super) booted: Booted,
    pub(super) begin: Begin,
    /// How long it was there and did not see its code.
    pub(super) attach: Duration,
    /// Its code, for as long as it uses it; a restored one has its own.
    pub(super) code: Option<CodeLease>,
    /// The snapshot it is to become after its init.
    pub(super) making: Option<Making>,
}

/// How a sandbox begins its life with the function.
pub(super) enum Begin {
    /// By the function's init.
    Init(Init),
    /// After it: it was restored from a snapshot of another that had run it.
    Restored(Resumed),
}

/// Why there is no sandbox for the function.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    /// Its code can't be had.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// No sandbox came up.
    #[error(transparent)]
    Boot(#[from] BootFailure),
    /// Code or limits could not be set.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Gets sandboxes ready for one slot.
#[derive(Clone)]
pub(super) struct Preparer {
    host: Arc<Host>,
    function: Arc<FunctionSpec>,
    log_stream: Arc<str>,
}

impl Preparer {
    pub(super) fn new(host: Arc<Host>, function: Arc<FunctionSpec>, log_stream: Arc<str>) -> Self {
        Self { host, function, log_stream }
    }

    /// One sandbox, ready for Init, or past it.
    pub(super) async fn prepare(&self) -> Result<Prepared, PrepareError> {
        let (boots, class) = (&self.host.boots, self.host.boots.sizing().class_of(&self.function));
        let Some(key) = boots.version_key(&self.function) else { return self.prepare_init(class, None).await };
        if let Some((booted, resumed)) = boots.restore_version(class, &key, self.own_variables()).await? {
            booted.sandbox.set_limits(boots.sizing().limits(&self.function)).await?;
            let (begin, attach) = (Begin::Restored(resumed), Duration::ZERO);
            return Ok(Prepared { booted, begin, attach, code: None, making: None });
        }
        self.prepare_init(class, boots.begin_version(&key)).await
    }

    /// What each sandbox of one snapshot has for itself: its log stream, and credentials that are not as old as the
    /// snapshot.
    fn own_variables(&self) -> Vec<EnvironmentVariable> {
        let variable = |name: &str, value: &str| EnvironmentVariable { name: name.to_owned(), value: value.to_owned() };
        let mut variables = vec![variable(LOG_STREAM_VARIABLE, &self.log_stream)];
        if let Some(credentials) = &self.function.credentials {
            variables.extend(credential_variables(credentials).map(|(name, value)| variable(name, value)));
        }
        variables
    }

    async fn prepare_init(&self, class: SandboxClass, making: Option<Making>) -> Result<Prepared, PrepareError> {
        let sizing = self.host.boots.sizing();
        let code = async { self.host.code.of(&self.function).await.map_err(PrepareError::from) };
        let sandbox = async {
            let started = match &making {
                Some(making) => self.host.boots.start_version(class, making).await,
                None => self.host.pool.take(class).await,
            };
            started.map(|booted| (booted, Instant::now())).map_err(PrepareError::from)
        };
        let (code, (mut booted, there_at)) = tokio::try_join!(code, sandbox)?;
        let task_root = self.host.boots.attach_code(&mut *booted.sandbox, code.path()).await?;
        let layers_root = match code.layers() {
            Some(layers) => self.host.boots.attach_layers(&mut *booted.sandbox, layers).await?,
            None => PathBuf::from(LAYERS_ROOT),
        };
        booted.sandbox.set_limits(init_limits(sizing, &self.function)).await?;
        let mut init = self.init(&task_root, &layers_root, making.is_some());
        init.layers_in_code = code.layers_in_code();
        let begin = Begin::Init(init);
        Ok(Prepared { booted, begin, attach: there_at.elapsed(), code: Some(code), making })
    }

    fn init(&self, task_root: &Path, layers_root: &Path, snap_start: bool) -> Init {
        let environment = FunctionEnvironment {
            function: &self.function,
            task_root,
            layers_root,
            runtime_dir: self.host.boots.runtime_dir(),
            log_stream: &self.log_stream,
            snap_start,
        };
        Init {
            environment: environment.variables(),
            handler: self.function.handler.clone(),
            function_name: self.function.function.name.to_string(),
            task_root: task_root.display().to_string(),
            limits: guest_limits(self.host.boots.sizing(), &self.function),
            snap_start,
            unix_ms: Clock::unix_ms(),
            layers_in_code: false,
        }
    }
}

/// What the shim is to enforce: in a microVM the kernel is the shim's, elsewhere the host enforces all.
fn guest_limits(sizing: Sizing, function: &FunctionSpec) -> Option<GuestLimits> {
    let limits = sizing.limits(function);
    (sizing == Sizing::AtBoot).then(|| GuestLimits {
        memory_bytes: function.memory.bytes(),
        tmp_bytes: limits.tmp_bytes,
        max_processes: limits.max_processes,
        max_open_files: limits.max_open_files,
    })
}

fn init_limits(sizing: Sizing, function: &FunctionSpec) -> Limits {
    let limits = sizing.limits(function);
    Limits { milli_cpus: limits.milli_cpus.max(INIT_MIN_MILLI_CPUS), ..limits }
}

/// What the function may use once it is initialized, if init may use more.
pub(super) fn limits_after_init(sizing: Sizing, function: &FunctionSpec) -> Option<Limits> {
    let limits = sizing.limits(function);
    (init_limits(sizing, function) != limits).then_some(limits)
}
