//! Where everything is kept unless `--data-dir` says otherwise.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Name of the credentials file in the data directory.
pub(crate) const CREDENTIALS_FILE: &str = "credentials";

/// `/var/lib/hearth` for root; for others `hearth` in `$XDG_DATA_HOME` or `~/.local/share`
/// (freedesktop.org, "XDG Base Directory Specification").
pub(crate) fn default_data_dir(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    if is_root() {
        return PathBuf::from("/var/lib/hearth");
    }
    let data_home = variable("XDG_DATA_HOME").filter(|path| path.starts_with('/')).map(PathBuf::from);
    let home = || PathBuf::from(variable("HOME").unwrap_or_else(|| "/".into())).join(".local/share");
    data_home.unwrap_or_else(home).join("hearth")
}

/// Whether this process is root of the host, not of a user namespace: `up` enters one for an ordinary user, and must
/// find the same directory as the client commands, which don't. `/proc/self` belongs to the effective user.
fn is_root() -> bool {
    let is_zero = std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    is_zero && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| is_whole(&map))
}

/// Whether a map of ids (user_namespaces(7)) is that of the host: every id is itself.
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_of_a_user_namespace_is_not_the_hosts() {
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(!is_whole("0 1000 1\n") && !is_whole("0 1000 1\n1 100000 65536\n") && !is_whole(""));
    }
}
