//! What a worker's process settles before it has a second thread: how its sandboxes are isolated, and, for an ordinary
//! user, the user namespace that makes jails possible.
//!
//! Invariant: what was asked for, or an error; never something weaker.

use anyhow::{Context, Result};
use hearth_microvm::{Isolation, jail, probe};

use super::settings::{IsolationChoice, RoleConfig, beside_this_program};

/// The program of a microVM, beside this one.
pub(crate) const VMM: &str = "hearth-vmm";

/// Decides the isolation of a role that has sandboxes. To be called while this process has one thread.
pub(super) fn settle(role: &mut RoleConfig) -> Result<()> {
    let worker = match role {
        RoleConfig::Up { worker, .. } | RoleConfig::Worker { config: worker, .. } => worker,
        RoleConfig::Frontend { .. } | RoleConfig::WorkerManager { .. } | RoleConfig::Placement { .. } => return Ok(()),
    };
    let asked = match worker.isolation {
        IsolationChoice::Auto => None,
        IsolationChoice::Only(Isolation::Process) => return Ok(()),
        IsolationChoice::Only(isolation) => Some(isolation),
    };
    // Where that fails, the examination finds so, and has a remedy for it.
    let entered = jail::enter_rootless();
    let installation = probe::Installation {
        vmm: Some(beside_this_program(VMM)),
        guest_images: Some(worker.guest_images.clone()),
        cgroup_parent: None,
    };
    let isolation = probe::examine(&installation).choose(asked).context(ASK_THE_DOCTOR)?;
    entered.context(ASK_THE_DOCTOR)?;
    worker.isolation = IsolationChoice::Only(isolation);
    Ok(())
}

const ASK_THE_DOCTOR: &str = "no sandboxes are possible here (`hearth doctor` says more)";
