//! Names of entries → paths below the root.

use crate::unzip::{BundleError, ENTRY_NAME_MAX_BYTES, ENTRY_NAME_PART_MAX_BYTES, shown};

/// A checked name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Parts joined by `/`, without `.`; empty for the root itself.
    pub(super) path: String,
    /// The name ended in `/`.
    pub(super) is_directory: bool,
}

pub(super) fn check(raw: &[u8]) -> Result<Name, BundleError> {
    let bad = |problem| BundleError::BadName { name: shown(raw), problem };
    let name = std::str::from_utf8(raw).map_err(|_| bad("is not UTF-8"))?;
    if name.is_empty() {
        return Err(bad("is empty"));
    }
    if name.len() > ENTRY_NAME_MAX_BYTES {
        return Err(bad("is too long"));
    }
    if name.contains('\0') {
        return Err(bad("has a NUL byte"));
    }
    if name.contains('\\') {
        return Err(BundleError::Backslash(shown(raw)));
    }
    if name.starts_with('/') {
        return Err(BundleError::AbsoluteName(shown(raw)));
    }
    let mut path = String::new();
    for part in name.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return Err(BundleError::ParentDirectory(shown(raw)));
        }
        if part.len() > ENTRY_NAME_PART_MAX_BYTES {
            return Err(bad("has a part that is too long"));
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    let is_directory = name.ends_with('/') || name.ends_with("/.") || path.is_empty();
    Ok(Name { path, is_directory })
}

/// The directories above a path, outermost first.
pub(super) fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(index, _)| &path[..index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_plain_paths() {
        for (raw, path, is_directory) in
            [("a", "a", false), ("./a//b", "a/b", false), ("a/", "a", true), ("./", "", true), ("...", "...", false)]
        {
            assert_eq!(check(raw.as_bytes()), Ok(Name { path: path.into(), is_directory }), "{raw:?}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        assert_eq!(check(b"a/../b"), Err(BundleError::ParentDirectory("a/../b".into())));
        assert_eq!(check(b".."), Err(BundleError::ParentDirectory("..".into())));
        assert_eq!(check(b"/a"), Err(BundleError::AbsoluteName("/a".into())));
        assert_eq!(check(b"a\\b"), Err(BundleError::Backslash("a\\b".into())));
        for bad in [&b""[..], b"a\0b", b"\xff", &[b'a'; 256], &[b'/', b'a'].repeat(1_025)[1..]] {
            assert!(matches!(check(bad), Err(BundleError::BadName { .. })), "{}", shown(bad));
        }
    }

    #[test]
    fn directories_above() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(above("a").count(), 0);
    }
}
