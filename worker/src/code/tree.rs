//! Directories of unpacked code: joined, measured, removed. No link in them is followed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where code lies in a directory that has layers as well; the shim knows these names, too.
pub(super) const TASK: &str = "task";
/// Where layers lie in it.
const OPT: &str = "opt";

/// What a directory holds, not following symlinks.
pub(super) fn tree_bytes(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { tree_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Makes `dir` of the parts in `draft`.
pub(super) fn join(parts: &[PathBuf], draft: &Path, has_code: bool, dir: &Path) -> io::Result<()> {
    let (first, later) = parts.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    later.iter().try_for_each(|part| merge(part, first))?;
    if !has_code {
        fs::rename(first, dir)?;
        return fs::remove_dir_all(draft);
    }
    fs::rename(first, draft.join(OPT))?;
    later.iter().try_for_each(fs::remove_dir_all)?;
    fs::rename(draft, dir)
}

/// Moves what is in `from` into `into`: directories are joined, anything else takes the place of what was there. No link
/// is followed.
fn merge(from: &Path, into: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        let found = fs::symlink_metadata(&target).ok();
        match found {
            Some(found) if found.is_dir() && entry.file_type()?.is_dir() => {
                merge(&source, &target)?;
                continue;
            }
            Some(_) => remove(&target)?,
            None => {}
        }
        fs::rename(&source, &target)?;
    }
    Ok(())
}

/// Removes a directory with all in it, or a file.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
