//! What a jail can't hold on a host that lacks something, and what to do about it.

use crate::cgroup::Controller;
use crate::kernel::{PROCESSES_COUNTED_BY_NAMESPACE, Version};
use crate::sandbox::Unenforced;

/// A limit, by the name that the probe has for it, too, and the controller that must be there for it.
pub(crate) struct Limit {
    what: &'static str,
    controller: Controller,
}

/// For whom only the share of the processors depends on a controller.
pub(crate) const CPU_SHARE: Limit = Limit { what: "CPU share", controller: Controller::Cpu };

/// What is measured or paused without a controller is found in `/proc`: less exact, but there.
pub(crate) const LIMITS: [Limit; 3] = [
    Limit { what: "memory limit", controller: Controller::Memory },
    CPU_SHARE,
    Limit { what: "process limit", controller: Controller::Pids },
];

impl Limit {
    pub(crate) fn holds(&self, controllers: &[Controller]) -> bool {
        controllers.contains(&self.controller) || (self.controller == Controller::Pids && Self::by_resource())
    }

    /// Whether a resource limit can stand for the controller of processes: where it counts by user namespace.
    pub(crate) fn by_resource() -> bool {
        Version::running() >= PROCESSES_COUNTED_BY_NAMESPACE
    }

    pub(crate) fn tell(&self) -> Unenforced {
        Unenforced {
            what: self.what.to_owned(),
            why: format!("the {} cgroup controller is missing or can't be written here", self.controller),
            remedy:
                "run as root, or under `systemd-run --user --scope -p Delegate=yes`, on a host with this controller"
                    .to_owned(),
        }
    }
}

/// All programs of a sandbox run as one user, the launcher's own.
pub(crate) fn own_user() -> Unenforced {
    Unenforced {
        what: "users of its own for each sandbox".to_owned(),
        why: "this user has no subordinate user ids, or newuidmap is missing".to_owned(),
        remedy: "install the package uidmap and give the user subordinate ids (`hearth doctor` says how)".to_owned(),
    }
}
