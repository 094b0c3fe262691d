//! What a jail can't hold on a host that lacks something, and what to do about it.

use crate::cgroup::Controller;
use crate::sandbox::Unenforced;

/// A limit and the controllers of which one must be there for it.
pub(super) struct Limit {
    what: &'static str,
    controller: Controller,
}

pub(super) const LIMITS: [Limit; 5] = [
    Limit { what: "memory of a sandbox", controller: Controller::Memory },
    Limit { what: "CPU share of a sandbox", controller: Controller::Cpu },
    Limit { what: "number of processes of a sandbox", controller: Controller::Pids },
    Limit { what: "measuring CPU time of a sandbox", controller: Controller::CpuAccounting },
    Limit { what: "pausing a sandbox", controller: Controller::Freezer },
];

impl Limit {
    pub(super) fn holds(&self, controllers: &[Controller]) -> bool {
        controllers.contains(&self.controller)
    }

    pub(super) fn tell(&self) -> Unenforced {
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
pub(super) fn own_user() -> Unenforced {
    Unenforced {
        what: "a user of its own for function code".to_owned(),
        why: "this user has no subordinate user ids, or newuidmap is missing".to_owned(),
        remedy: "install the package uidmap and give the user a range in /etc/subuid and /etc/subgid".to_owned(),
    }
}
