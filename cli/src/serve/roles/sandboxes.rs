//! Which sandboxes a worker uses, and the shim in them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use hearth_microvm::jail::{JailConfig, JailLauncher};
use hearth_microvm::kvm::manifest::Kernel;
use hearth_microvm::kvm::{KvmConfig, KvmLauncher, RateLimit};
use hearth_microvm::process::{ProcessConfig, ProcessLauncher};
use hearth_microvm::{Isolation, Launcher};
use tracing::{info, warn};

use crate::serve::isolation::VMM;
use crate::serve::settings::{Discovery, IsolationChoice, WorkerSettings, beside_this_program};

const BYTES_PER_MB: u64 = 1 << 20;

/// The launcher for the isolation that was asked for. Never a weaker one.
pub(super) fn launcher(settings: &WorkerSettings) -> Result<Arc<dyn Launcher>> {
    let state = settings.data_dir.join("sandboxes");
    let isolation = match settings.isolation {
        // Settled before; jail is what `auto` comes to.
        IsolationChoice::Auto => Isolation::Jail,
        IsolationChoice::Only(isolation) => isolation,
    };
    let launcher: Arc<dyn Launcher> = match isolation {
        Isolation::Jail => Arc::new(JailLauncher::new(JailConfig::new(state))?),
        Isolation::Process => Arc::new(ProcessLauncher::new(ProcessConfig { state_dir: state })?),
        Isolation::Kvm => Arc::new(KvmLauncher::new(microvms(state, settings)?)?),
    };
    for missing in launcher.unenforced() {
        warn!(%isolation, what = missing.what, why = missing.why, remedy = missing.remedy, "not enforced on this host");
    }
    if isolation == Isolation::Process {
        warn!("--isolation process is NO SECURITY BOUNDARY: functions can read and harm what this user can");
    }
    Ok(launcher)
}

fn microvms(state: PathBuf, settings: &WorkerSettings) -> Result<KvmConfig> {
    let guests = &settings.guests;
    let named = guests.kernel.as_ref().map(|kernel| {
        let found = Kernel::named(&kernel.file, kernel.devices == Discovery::Acpi, &kernel.modules);
        found.context("microVMs can't have the kernel that --guest-kernel names")
    });
    let kernel = named.transpose()?;
    if let Some(kernel) = &kernel {
        info!(file = %kernel.file.display(), release = kernel.release, modules = kernel.modules.len(), "microVMs get a kernel of your own");
    }
    Ok(KvmConfig {
        kernel,
        huge_pages: guests.huge_pages,
        drive_bandwidth: guests.drive_bandwidth_mb.map(|mb| a_second_of(u64::from(mb.get()) * BYTES_PER_MB)),
        drive_requests: guests.drive_requests.map(|requests| a_second_of(requests.get().into())),
        console_dir: guests.console.clone(),
        ..KvmConfig::new(state, beside_this_program(VMM), &settings.guest_images)
    })
}

/// So much a second, and as much at once after a rest.
const fn a_second_of(per_second: u64) -> RateLimit {
    RateLimit { burst: per_second, per_second }
}

/// `hearth-shim`, beside this very program.
pub(super) fn shim() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let shim = own.with_file_name("hearth-shim");
    if !shim.is_file() {
        bail!("{} is not there: it belongs beside hearth (`make build` puts it there)", shim.display());
    }
    Ok(shim)
}
