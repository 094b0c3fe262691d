//! Gets a sandbox ready for a function: from the pool or booted now, its code attached, its limits set.

use std::path::PathBuf;
use std::sync::Arc;

use hearth_domain::FunctionSpec;
use hearth_guest_protocol::{GuestLimits, Init};
use hearth_microvm::{Limits, SandboxError};

use super::Host;
use crate::class::Sizing;
use crate::code::{CodeError, CodeLease};
use crate::pool::{BootFailure, Booted};
use crate::runtime::FunctionEnvironment;

/// CPU that init gets at least, thousandths of one. Lambda lets init run on a full vCPU whatever a function's share
/// is, so that small functions start as fast as large ones (docs/decisions/0041).
const INIT_MIN_MILLI_CPUS: u32 = 1_000;

/// What becomes a slot's sandbox.
pub(super) struct Prepared {
    pub(super) booted: Booted,
    pub(super) code: CodeLease,
    pub(super) init: Init,
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

    /// One sandbox, ready for Init.
    pub(super) async fn prepare(&self) -> Result<Prepared, PrepareError> {
        let sizing = self.host.boots.sizing();
        let class = sizing.class_of(&self.function);
        let code = async { self.host.code.get(self.function.bundle).await.map_err(PrepareError::from) };
        let sandbox = async { self.host.pool.take(class).await.map_err(PrepareError::from) };
        let (code, mut booted) = tokio::try_join!(code, sandbox)?;
        let task_root = self.host.boots.attach_code(&mut *booted.sandbox, code.path()).await?;
        booted.sandbox.set_limits(init_limits(sizing, &self.function)).await?;
        let init = self.init(task_root);
        Ok(Prepared { booted, code, init })
    }

    fn init(&self, task_root: PathBuf) -> Init {
        let environment = FunctionEnvironment {
            function: &self.function,
            task_root: &task_root,
            runtime_dir: self.host.boots.runtime_dir(),
            log_stream: &self.log_stream,
        };
        Init {
            environment: environment.variables(),
            handler: self.function.handler.clone(),
            function_name: self.function.function.name.to_string(),
            task_root: task_root.display().to_string(),
            limits: guest_limits(self.host.boots.sizing(), &self.function),
            snap_start: false,
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
