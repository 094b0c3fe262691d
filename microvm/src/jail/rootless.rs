//! Jails for an ordinary user: the whole process moves into a user namespace in which it is root over what its user
//! may do, before it has threads.

use std::fs;
use std::io;
use std::ops::Range;
use std::process::{Command, Stdio};

use rustix::thread::UnshareFlags;

use crate::sys;

/// The process could not become root of a namespace of its own.
#[derive(Debug, thiserror::Error)]
#[error("user namespaces can't be used here: {step}")]
pub struct RootlessError {
    /// Which step failed.
    pub step: &'static str,
    /// The operating system's word.
    pub source: io::Error,
}

/// For an ordinary user: makes this process root of a user namespace of its own (its files, processes and rights
/// on the host stay those of the user), with the user's subordinate ids where `newuidmap` gives them. Does nothing
/// for root. To be called first in `main`: the kernel refuses it to a process that has threads.
///
/// Answers whether it did something.
pub fn enter_rootless() -> Result<bool, RootlessError> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if uid == 0 {
        return Ok(false);
    }
    let failed = |step: &'static str| move |source: io::Error| RootlessError { step, source };
    // The maps of a namespace are written from outside it: by a child that was started before.
    let mut helper = start_helper(uid, gid).map_err(failed("start the helper that maps ids"))?;
    sys::identity::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::FS)
        .map_err(failed("unshare"))?;
    let mapped = helper.let_go().map_err(failed("wait for the helper that maps ids"))?;
    if !mapped {
        map_own_only(uid, gid).map_err(failed("map the own id"))?;
    }
    // From nobody to root of the namespace.
    Ok(true)
}

/// The ids beside 0 that this process's user namespace has; `None` in the host's own namespace.
pub(crate) fn own_ids() -> io::Result<Option<Range<u32>>> {
    Ok(parse_map(&fs::read_to_string("/proc/self/uid_map")?))
}

fn parse_map(map: &str) -> Option<Range<u32>> {
    let lines: Vec<Vec<u32>> =
        map.lines().map(|line| line.split_whitespace().filter_map(|field| field.parse().ok()).collect()).collect();
    if lines.iter().any(|line| line.as_slice() == [0, 0, u32::MAX]) {
        return None;
    }
    let beside_root = lines.iter().find(|line| line.len() == 3 && line[0] >= 1).map(|line| line[0]..line[0] + line[2]);
    // A namespace made by others (a container) has one long line.
    let long = lines.iter().find(|line| line.len() == 3 && line[0] == 0 && line[2] > 1).map(|line| 1..line[2]);
    Some(beside_root.or(long).unwrap_or(1..1))
}

/// A shell that waits for a line, then calls `newuidmap` and `newgidmap` for this process.
struct Helper {
    child: Option<std::process::Child>,
}

impl Helper {
    /// Lets it map; whether it did.
    fn let_go(&mut self) -> io::Result<bool> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        drop(child.stdin.take());
        Ok(child.wait()?.success())
    }
}

fn start_helper(uid: u32, gid: u32) -> io::Result<Helper> {
    let (Some((uids, uid_count)), Some((gids, gid_count))) =
        (subordinate("/etc/subuid", uid), subordinate("/etc/subgid", uid))
    else {
        return Ok(Helper { child: None });
    };
    let pid = std::process::id();
    let script = format!(
        "read -r _; newuidmap {pid} 0 {uid} 1 1 {uids} {uid_count} && newgidmap {pid} 0 {gid} 1 1 {gids} {gid_count}"
    );
    let child = Command::new("/bin/sh")
        .args(["-c", &script])
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Helper { child: Some(child) })
}

/// The first range that a subuid or subgid file gives a user, by number or name.
fn subordinate(file: &str, uid: u32) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields[0].to_owned())
    });
    parse_subordinate(&fs::read_to_string(file).ok()?, name.as_deref(), uid)
}

fn parse_subordinate(content: &str, name: Option<&str>, uid: u32) -> Option<(u32, u32)> {
    let number = uid.to_string();
    content.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        (owner == number || Some(owner) == name)
            .then(|| Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?)))
            .flatten()
    })
}

fn map_own_only(uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1\n"))?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_namespace_is_told_from_others() {
        assert_eq!(parse_map("         0          0 4294967295\n"), None);
        assert_eq!(parse_map("0 1000 1\n"), Some(1..1));
        assert_eq!(parse_map("0 1000 1\n1 100000 65536\n"), Some(1..65_537));
        assert_eq!(parse_map("0 100000 65536\n"), Some(1..65_536));
    }

    #[test]
    fn subordinate_ranges_are_found_by_name_and_number() {
        let file = "root:1:2\nann:100000:65536\n1001:300000:65536\n";
        assert_eq!(parse_subordinate(file, Some("ann"), 1000), Some((100_000, 65_536)));
        assert_eq!(parse_subordinate(file, None, 1001), Some((300_000, 65_536)));
        assert_eq!(parse_subordinate(file, Some("bob"), 1002), None);
    }
}
