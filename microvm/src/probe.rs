//! What this host allows, and what to do about what it doesn't: for `hearth doctor`, and for choosing an isolation.
//!
//! Everything is tried, not guessed: namespaces by making them, control groups by making one, filters by asking the
//! kernel. Nothing is left behind.

mod kvm;
mod walls;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cgroup::{Controller, Hierarchy, Layout, Parent};
use crate::kernel::{MOVES_WAIT, Version};
use crate::sandbox::{Isolation, Unenforced};

/// How often this process has looked.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, such as `user namespaces`.
    pub what: &'static str,
    /// How it is here.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: String,
}

/// How a finding bears on sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It works.
    Good,
    /// Sandboxes work without it, but something does not hold or is slower.
    Limited,
    /// The isolation that needs it can't be had.
    Missing,
}

/// Everything that was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// What jails need. They can be had if nothing of it is [`Verdict::Missing`].
    pub jail: Vec<Finding>,
    /// What microVMs need.
    pub kvm: Vec<Finding>,
}

/// No isolation that can be answered for is possible here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{isolation} isolation is not possible on this host: {}", reasons(.missing))]
pub struct NotPossible {
    /// The one asked for; jail if the choice was free.
    pub isolation: Isolation,
    /// What is in the way.
    pub missing: Vec<Finding>,
}

/// What belongs to Hearth on a host, and where; nothing is known of what is absent.
#[derive(Debug, Clone, Default)]
pub struct Installation {
    /// The program `hearth-vmm`.
    pub vmm: Option<PathBuf>,
    /// The directory of guest images.
    pub guest_images: Option<PathBuf>,
    /// The cgroup beneath which sandboxes get theirs; the process's own if absent.
    pub cgroup_parent: Option<PathBuf>,
}

/// Looks at the host. Takes some milliseconds, where KVM only emulates up to a second; not to be called from an async
/// task's thread.
///
/// An ordinary user calls it after [`crate::jail::enter_rootless`], to learn what holds from then on.
pub fn examine(installation: &Installation) -> Report {
    let mut jail = walls::findings();
    jail.extend(control_groups(installation.cgroup_parent.as_ref()));
    let kvm = kvm::findings(installation, &jail);
    Report { jail, kvm }
}

impl Report {
    /// The isolation to use: the one asked for, where it can be had at all; or [`Isolation::Kvm`] where all of it is
    /// [`Verdict::Good`], native speed included, and else [`Isolation::Jail`]. Without being asked for by name,
    /// [`Isolation::Process`] is never the answer.
    pub fn choose(&self, asked: Option<Isolation>) -> Result<Isolation, NotPossible> {
        let possible = |isolation: Isolation, findings: &[Finding]| {
            let missing: Vec<_> = findings.iter().filter(|found| found.verdict == Verdict::Missing).cloned().collect();
            if missing.is_empty() { Ok(isolation) } else { Err(NotPossible { isolation, missing }) }
        };
        match asked {
            Some(Isolation::Process) => Ok(Isolation::Process),
            Some(Isolation::Kvm) => possible(Isolation::Kvm, &self.kvm),
            None if self.against_kvm().is_empty() => Ok(Isolation::Kvm),
            Some(Isolation::Jail) | None => possible(Isolation::Jail, &self.jail),
        }
    }

    /// What keeps a free choice from [`Isolation::Kvm`].
    pub fn against_kvm(&self) -> Vec<&Finding> {
        self.kvm.iter().filter(|found| found.verdict != Verdict::Good).collect()
    }

    /// What a jail would not enforce here.
    pub fn unenforced(&self) -> Vec<Unenforced> {
        let limited = self.jail.iter().filter(|found| found.verdict == Verdict::Limited);
        let tell = |found: &Finding| Unenforced {
            what: found.what.to_owned(),
            why: found.seen.clone(),
            remedy: found.remedy.clone(),
        };
        limited.map(tell).collect()
    }
}

impl Finding {
    fn good(what: &'static str, seen: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, seen: seen.into(), remedy: String::new() }
    }

    fn limited(what: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Limited, seen: seen.into(), remedy: remedy.into() }
    }

    fn missing(what: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Missing, seen: seen.into(), remedy: remedy.into() }
    }
}

/// Which limits can be held: by making a group and looking at what it has.
fn control_groups(below: Option<&PathBuf>) -> Vec<Finding> {
    let limits = [
        ("memory limit", Controller::Memory),
        ("CPU share", Controller::Cpu),
        ("process limit", Controller::Pids),
        ("pausing at once", Controller::Freezer),
    ];
    let layout = match Layout::of_this_process() {
        Ok(layout) => layout,
        Err(error) => {
            let none = |what| Finding::limited(what, error.to_string(), "mount cgroup2 at /sys/fs/cgroup");
            return limits.map(|(what, _)| none(what)).to_vec();
        }
    };
    // A name of its own: the host may be examined from several threads at once.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("hearth-probe-{}-{count}", std::process::id());
    let parent = Parent::create(&layout, below.map(PathBuf::as_path), &name);
    let held = parent.controllers();
    parent.remove();
    let version = match (layout.v1.is_empty(), &layout.v2) {
        (false, Some(_)) => "versions 1 and 2 mounted",
        (false, None) => "version 1",
        (true, Some(_)) => "version 2",
        (true, None) => "none mounted",
    };
    let judged = limits.map(|(what, controller)| judge(what, controller, version, &layout, &held));
    let v2 = layout.v2.as_ref().filter(|v2| !v2.controllers.is_empty() && Version::running() >= MOVES_WAIT);
    judged.into_iter().chain(v2.map(moves)).collect()
}

/// How fast processes move between groups of version 2: some milliseconds each, or at once. Either is good.
fn moves(v2: &Hierarchy) -> Finding {
    const WHAT: &str = "moves between control groups";
    if v2.options.split(',').any(|option| option == "favordynmods") {
        return Finding::good(WHAT, "at once (cgroup2 is mounted with favordynmods)");
    }
    // A remount states all options anew.
    let (options, at) = (v2.options.trim_start_matches("rw,"), v2.mount.display());
    let options = if options == "rw" { String::new() } else { format!("{options},") };
    let remedy = format!("for faster starts and snapshots of microVMs: mount -o remount,{options}favordynmods {at}");
    Finding { remedy, ..Finding::good(WHAT, "each waits for an RCU grace period (no favordynmods)") }
}

fn judge(what: &'static str, controller: Controller, version: &str, layout: &Layout, held: &[Controller]) -> Finding {
    if held.contains(&controller) {
        return Finding::good(what, format!("cgroup controller {controller} ({version})"));
    }
    if controller == Controller::Pids && crate::jail::processes_limited_by_resource() {
        return Finding::good(what, "a resource limit of the user namespace".to_owned());
    }
    if layout.has(controller) {
        let remedy = "run as root, or as a user with a delegated cgroup: systemd-run --user --scope -p Delegate=yes …";
        return Finding::limited(what, format!("cgroup controller {controller} can't be written by this user"), remedy);
    }
    let remedy = "boot with the controller: on some hosts cgroup_enable=memory, or systemd.unified_cgroup_hierarchy=1";
    Finding::limited(what, format!("no cgroup controller {controller} ({version})"), remedy)
}

fn reasons(missing: &[Finding]) -> String {
    let reasons = missing.iter().map(|found| format!("{}: {} ({})", found.what, found.seen, found.remedy));
    reasons.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(jail: Vec<Finding>, kvm: Vec<Finding>) -> Report {
        Report { jail, kvm }
    }

    fn no_kvm() -> Vec<Finding> {
        vec![Finding::missing("/dev/kvm", "none", "modprobe")]
    }

    #[test]
    fn a_free_choice_is_never_a_plain_process() {
        let broken = report(vec![Finding::missing("user namespaces", "EPERM", "sysctl")], no_kvm());
        let refused = broken.choose(None).unwrap_err();
        assert_eq!((refused.isolation, refused.missing.len()), (Isolation::Jail, 1));
        assert!(refused.to_string().contains("sysctl"), "{refused}");
        assert_eq!(broken.choose(Some(Isolation::Process)), Ok(Isolation::Process));
    }

    #[test]
    fn what_was_asked_for_is_given_or_refused_but_never_weakened() {
        let no_kvm = report(vec![Finding::good("all", "")], no_kvm());
        assert!(no_kvm.choose(Some(Isolation::Kvm)).is_err());
        assert_eq!(no_kvm.choose(None), Ok(Isolation::Jail));
    }

    #[test]
    fn kvm_is_chosen_where_all_is_good_and_given_by_name_where_it_works() {
        let (jail, good) = (vec![Finding::good("all", "")], Finding::good("/dev/kvm", "opens"));
        assert_eq!(report(jail.clone(), vec![good.clone()]).choose(None), Ok(Isolation::Kvm));
        let slow = report(jail, vec![good, Finding::limited("speed of guests", "emulated", "hardware")]);
        assert_eq!(slow.choose(None), Ok(Isolation::Jail));
        assert_eq!(slow.choose(Some(Isolation::Kvm)), Ok(Isolation::Kvm));
        assert_eq!(slow.against_kvm()[0].what, "speed of guests");
    }

    #[test]
    fn a_limit_that_does_not_hold_is_told_but_stops_nothing() {
        let loose = report(vec![Finding::limited("memory limit", "not delegated", "root")], no_kvm());
        assert_eq!(loose.choose(None), Ok(Isolation::Jail));
        assert_eq!(loose.unenforced()[0].what, "memory limit");
    }

    #[test]
    fn slow_moves_are_told_with_the_mount_that_ends_them_and_are_no_reason_against_anything() {
        let mounted = |options: &str| Hierarchy {
            controllers: vec![Controller::Memory],
            mount: "/sys/fs/cgroup".into(),
            own: "/sys/fs/cgroup".into(),
            options: options.to_owned(),
        };
        let slow = moves(&mounted("rw,nsdelegate,memory_recursiveprot"));
        let wanted = "mount -o remount,nsdelegate,memory_recursiveprot,favordynmods /sys/fs/cgroup";
        assert!(slow.verdict == Verdict::Good && slow.remedy.ends_with(wanted), "{slow:?}");
        assert!(moves(&mounted("rw")).remedy.ends_with("mount -o remount,favordynmods /sys/fs/cgroup"));
        assert!(moves(&mounted("rw,nsdelegate,favordynmods")).remedy.is_empty());
    }

    #[test]
    fn this_host_is_examined_and_nothing_is_left() {
        let report = examine(&Installation::default());
        assert!(
            report
                .jail
                .iter()
                .chain(&report.kvm)
                .all(|found| found.verdict == Verdict::Good || !found.remedy.is_empty())
        );
        let left = COUNT.load(Ordering::Relaxed) - 1;
        let left = format!("hearth-probe-{}-{left}", std::process::id());
        let layout = Layout::of_this_process().unwrap();
        assert!(layout.v1.iter().all(|hierarchy| !hierarchy.own.join(&left).exists()));
    }
}
