//! What the walls of a jail need: kernel, namespaces, filters, users.

use std::fs;
use std::io;

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::Finding;
use crate::jail::NAMESPACES;
use crate::kernel::{MOUNT_ATTRIBUTES, Version};
use crate::sys::script::{Arg, Script};
use crate::sys::spawn::{SpawnError, spawn};

pub(super) fn findings() -> Vec<Finding> {
    vec![kernel(), namespaces(), seccomp(), users()]
}

fn kernel() -> Finding {
    let Version(major, minor) = Version::running();
    let Version(need_major, need_minor) = MOUNT_ATTRIBUTES;
    if Version::running() >= MOUNT_ATTRIBUTES {
        Finding::good("kernel", format!("Linux {major}.{minor}"))
    } else {
        let remedy = format!("use Linux {need_major}.{need_minor} or later (Debian 12, Ubuntu 22.04)");
        Finding::missing("kernel", format!("Linux {major}.{minor}"), remedy)
    }
}

/// Makes a process in all of them that mounts its own `/proc` and ends.
fn namespaces() -> Finding {
    const WHAT: &str = "namespaces";
    match try_namespaces() {
        Ok(()) => Finding::good(WHAT, "user, mount, PID, network, IPC, UTS and a /proc of its own were made"),
        Err(error) => Finding::missing(WHAT, format!("{}: {}", error.step, error.source), namespaces_remedy(&error)),
    }
}

fn try_namespaces() -> Result<(), SpawnError> {
    let mut script = Script::default();
    let none = || Arg::Number(0);
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;
    let proc = || Arg::Text(c"proc".to_owned());
    let args = [proc(), Arg::Text(c"/proc".to_owned()), proc(), Arg::Number(flags), none()];
    script.step("mount /proc", libc::SYS_mount, args);
    script.step("exit", libc::SYS_exit_group, [none()]);
    let spawned = spawn(script, NAMESPACES, None, |_, _| Ok(()))?;
    let _ = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&spawned.pidfd)), WaitIdOptions::EXITED);
    Ok(())
}

fn namespaces_remedy(error: &SpawnError) -> String {
    if let Some(remedy) = permission_remedy() {
        remedy
    } else if error.step == "mount /proc" {
        "in a container: start it with an unmasked /proc (docker run --security-opt systempaths=unconfined)".to_owned()
    } else if error.source.kind() == io::ErrorKind::PermissionDenied {
        IN_A_CONTAINER.to_owned()
    } else {
        "use a kernel with all namespaces".to_owned()
    }
}

const IN_A_CONTAINER: &str =
    "in a container: start it with --privileged, or use --isolation process knowing that it is no boundary";

/// What to change where a setting of the host keeps ordinary users from user namespaces.
fn permission_remedy() -> Option<String> {
    let is =
        |name: &str, value: &str| fs::read_to_string(format!("/proc/sys/{name}")).is_ok_and(|now| now.trim() == value);
    let settings = [
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=65536"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1, or run as root"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
        ),
    ];
    settings.into_iter().find(|(name, value, _)| is(name, value)).map(|(_, _, remedy)| remedy.to_owned())
}

fn seccomp() -> Finding {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.split_whitespace().any(|action| action == "errno") {
        Finding::good("seccomp filters", "the kernel has them")
    } else {
        Finding::missing("seccomp filters", "the kernel has none", "use a kernel with CONFIG_SECCOMP_FILTER")
    }
}

fn users() -> Finding {
    const WHAT: &str = "users of its own for each sandbox";
    if !rustix::process::geteuid().is_root() {
        let remedy = permission_remedy().unwrap_or_else(|| format!("run as root; {IN_A_CONTAINER}"));
        return Finding::missing(WHAT, "this ordinary user can't enter a user namespace of its own", remedy);
    }
    match crate::jail::own_ids() {
        Ok(None) => Finding::good(WHAT, "as root"),
        Ok(Some(ids)) if crate::ids::can_be_divided(&ids) => {
            Finding::good(WHAT, format!("{} subordinate user ids", ids.len()))
        }
        Ok(Some(_)) => Finding::limited(
            WHAT,
            "this user has one id only: function code runs as the same user as its supervisor inside",
            "apt-get install uidmap, and give the user ids: usermod --add-subuids 100000-165535 --add-subgids \
             100000-165535 USER",
        ),
        Err(error) => Finding::missing(WHAT, error.to_string(), "mount /proc"),
    }
}
