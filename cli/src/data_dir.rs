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

/// Whether this process runs as root: `/proc/self` belongs to its effective user.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
