//! Bundles, sound and hostile.

#[path = "support/zips.rs"]
mod zips;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use hearth_domain::limits::{BUNDLE_MAX_ENTRIES, BUNDLE_UNZIPPED_MAX_BYTES};
use hearth_store::unzip::{BundleError, BundleSummary, UnpackError, inspect, unpack};
use proptest::prelude::*;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;
use zips::{Piece, file, symlink, with_mode, zip};

/// Everything below a directory: path → kind, mode, and content or target.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.mode() & 0o7777;
            let text = if metadata.is_dir() {
                ahead.push(path.clone());
                format!("d{mode:o}")
            } else if metadata.is_symlink() {
                format!("l {}", fs::read_link(&path).unwrap().display())
            } else {
                format!("f{mode:o} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
            };
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text);
        }
    }
    found
}

/// What both functions say of a zip. If it is refused, both refuse it alike and nothing is left behind.
fn try_both(bytes: &[u8]) -> Result<(BundleSummary, BTreeMap<String, String>), BundleError> {
    let dir = tempfile::tempdir().unwrap();
    let (zip, into) = (dir.path().join("b.zip"), dir.path().join("code"));
    fs::write(&zip, bytes).unwrap();
    let inspected = inspect(bytes);
    match unpack(&zip, &into) {
        Ok(summary) => {
            assert_eq!(inspected, Ok(summary));
            assert_eq!(fs::metadata(&into).unwrap().permissions().mode() & 0o7777, 0o755);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "something lies beside the bundle");
            Ok((summary, tree(&into)))
        }
        Err(UnpackError::Bundle(error)) => {
            assert_eq!(inspected, Err(error.clone()));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was left behind");
            Err(error)
        }
        Err(UnpackError::Io { action, path, source }) => panic!("{action} {}: {source}", path.display()),
    }
}

fn unpacked(pieces: &[Piece]) -> BTreeMap<String, String> {
    try_both(&zip(pieces)).unwrap().1
}

fn refused(pieces: &[Piece]) -> BundleError {
    try_both(&zip(pieces)).unwrap_err()
}

fn expect<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.map(|(path, text)| (path.to_owned(), text.to_owned())).into()
}

#[test]
fn files_directories_symlinks_and_modes() {
    let found = unpacked(&[
        with_mode("bootstrap", b"#!", 0o100_700),
        with_mode("lib/", b"", 0o040_700),
        with_mode("lib/secret.py", b"x", 0o100_600),
        with_mode("lib/setuid", b"y", 0o104_755),
        file("deep/er/./file", b"z"),
        symlink("lib/link", "../deep/er"),
        symlink("lib/nowhere", "later/on"),
        Piece { deflated: false, ..file("stored", b"as is") },
    ]);
    assert_eq!(
        found,
        expect([
            ("bootstrap", "f755 #!"),
            ("lib", "d755"),
            ("lib/secret.py", "f644 x"),
            ("lib/setuid", "f755 y"),
            ("deep", "d755"),
            ("deep/er", "d755"),
            ("deep/er/file", "f644 z"),
            ("lib/link", "l ../deep/er"),
            ("lib/nowhere", "l later/on"),
            ("stored", "f644 as is"),
        ])
    );
}

#[test]
fn without_modes_only_the_bootstrap_is_executable() {
    let pieces = ["bootstrap", "sub/bootstrap", "index.py"].map(|name| with_mode(name, b"", 0));
    let expected = expect([("bootstrap", "f755 "), ("sub", "d755"), ("sub/bootstrap", "f644 "), ("index.py", "f644 ")]);
    assert_eq!(unpacked(&pieces), expected);
}

#[test]
fn the_summary_counts_what_is_there() {
    let (summary, _) = try_both(&zip(&[file("a/b", b"12345"), file("c", b"6")])).unwrap();
    assert_eq!(summary, BundleSummary { entries: 3, unzipped_bytes: 6 });
}

#[test]
fn a_streamed_zip_is_read() {
    let streamed = |name: &str| Piece { streamed: true, ..file(name, name.as_bytes()) };
    assert_eq!(unpacked(&[streamed("a"), streamed("b")]), expect([("a", "f644 a"), ("b", "f644 b")]));
}

/// What a common library writes: zip64 fields, a comment, both methods.
#[test]
fn an_ordinary_writers_zip_is_read() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().unix_permissions(0o644);
    writer.set_comment("PK\x05\x06 in a comment, long enough to look like an end record");
    writer.start_file("wide", options.large_file(true)).unwrap();
    writer.write_all(b"wide").unwrap();
    writer.start_file("stored", options.compression_method(CompressionMethod::Stored)).unwrap();
    writer.write_all(b"stored").unwrap();
    writer.add_directory("d", SimpleFileOptions::default()).unwrap();
    writer.add_symlink("l", "d", SimpleFileOptions::default()).unwrap();
    let (_, found) = try_both(&writer.finish().unwrap().into_inner()).unwrap();
    let expected = [("wide", "f644 wide"), ("stored", "f644 stored"), ("d", "d755"), ("l", "l d")];
    assert_eq!(found, expect(expected));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    assert_eq!(refused(&[file("../x", b"")]), BundleError::ParentDirectory("../x".into()));
    assert_eq!(refused(&[file("a/../../x", b"")]), BundleError::ParentDirectory("a/../../x".into()));
    assert_eq!(refused(&[file("/etc/x", b"")]), BundleError::AbsoluteName("/etc/x".into()));
    assert_eq!(refused(&[file("a\\x", b"")]), BundleError::Backslash("a\\x".into()));
    assert!(matches!(refused(&[file("a\0x", b"")]), BundleError::BadName { .. }));
}

#[test]
fn paths_that_occur_twice_are_refused() {
    let duplicate = |path: &str| BundleError::Duplicate(path.into());
    assert_eq!(refused(&[file("x", b"1"), file("x", b"2")]), duplicate("x"));
    assert_eq!(refused(&[file("x", b"1"), file("./x", b"2")]), duplicate("./x"));
    assert_eq!(refused(&[file("x", b"1"), file("x/", b"")]), duplicate("x/"));
    assert_eq!(refused(&[file("x/", b""), file("x/", b"")]), duplicate("x/"));
    assert_eq!(refused(&[file("x/y", b""), file("x", b"")]), duplicate("x"));
    let below = BundleError::BelowFile { name: "x/y".into(), above: "x".into() };
    assert_eq!(refused(&[file("x", b""), file("x/y", b"")]), below);
    // What would be written through the symlink.
    assert_eq!(refused(&[symlink("x", "z"), file("x/y", b"")]), below);
    assert!(unpacked(&[file("x/y", b""), file("x/", b"")]).contains_key("x/y"));
}

#[test]
fn symlinks_that_leave_are_refused() {
    for target in ["..", "../x", "/etc/passwd", "a/../../x", "./../d/../../x"] {
        let error = refused(&[symlink("l", target)]);
        assert_eq!(error, BundleError::SymlinkLeaves { name: "l".into(), target: target.into() });
    }
    // Each of the two stays within when taken as text; together they leave.
    let together = refused(&[file("a/b/c", b""), symlink("a/up", "b/.."), symlink("m", "a/up/../../x")]);
    assert_eq!(together, BundleError::SymlinkLeaves { name: "m".into(), target: "a/up/../../x".into() });
    assert!(matches!(refused(&[symlink("d/l", "m/../../x"), symlink("d/m", "..")]), BundleError::SymlinkLeaves { .. }));
    assert_eq!(refused(&[symlink("l", "m"), symlink("m", "l")]), BundleError::SymlinkLoop("l".into()));
    assert_eq!(unpacked(&[symlink("d/l", "../d/./l2")]), expect([("d", "d755"), ("d/l", "l ../d/./l2")]));
}

#[test]
fn what_is_no_file_is_refused() {
    for special in [0o010_644, 0o020_644, 0o060_644, 0o140_644] {
        assert_eq!(refused(&[with_mode("x", b"", special)]), BundleError::SpecialFile("x".into()));
    }
    assert!(matches!(refused(&[file("x/", b"content")]), BundleError::Damaged { .. }));
    assert!(matches!(refused(&[symlink("x", "")]), BundleError::Damaged { .. }));
    assert!(matches!(refused(&[symlink("x", &"y".repeat(2_049))]), BundleError::Damaged { .. }));
}

#[test]
fn what_cannot_be_read_is_refused() {
    assert_eq!(refused(&[Piece { flags: 1, ..file("x", b"") }]), BundleError::Encrypted("x".into()));
    let unknown = refused(&[Piece { method: Some(12), ..file("x", b"") }]);
    assert_eq!(unknown, BundleError::UnsupportedCompression { name: "x".into(), method: 12 });
    assert_eq!(refused(&[]), BundleError::Empty);
    for garbage in [&b""[..], b"garbage", &[0; 100]] {
        assert!(matches!(try_both(garbage), Err(BundleError::NotAZip(_))));
    }
    let sound = zip(&[file("a", b"some content"), file("b", &[b'x'; 1_000])]);
    for cut in 0..sound.len() {
        assert!(inspect(&sound[..cut]).is_err(), "cut after {cut} of {} bytes and accepted", sound.len());
    }
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 1_000_000];
    // More than the limit, by what the headers say: refused before anything is inflated.
    let half = u32::try_from(BUNDLE_UNZIPPED_MAX_BYTES / 2 + 1).unwrap();
    let honest = ["x", "y"].map(|name| Piece { size: Some(half), ..file(name, &zeros) });
    assert_eq!(refused(&honest), BundleError::TooLarge);
    // Told to be small.
    let lying = refused(&[Piece { size: Some(10), ..file("x", &zeros) }]);
    assert_eq!(lying, BundleError::Damaged { name: "x".into(), reason: "it is larger than its header says".into() });
    // One piece of data under many names.
    let shared = [file("x", &zeros), Piece { shares: true, ..file("x", &zeros) }];
    assert_eq!(refused(&shared), BundleError::Overlapping("x".into()));
    // Directories that are only implied count, too.
    let deep = (0..70).map(|index| file(&format!("{index}/{}", "d/".repeat(1_000)), b"")).collect::<Vec<_>>();
    assert!(deep.len() * 1_000 > BUNDLE_MAX_ENTRIES);
    assert_eq!(refused(&deep), BundleError::TooManyEntries);
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut bytes = zip(&[Piece { deflated: false, ..file("x", b"content") }]);
    let at = bytes.windows(7).position(|window| window == b"content").unwrap();
    bytes[at] ^= 1;
    let error = try_both(&bytes).unwrap_err();
    assert_eq!(error, BundleError::Damaged { name: "x".into(), reason: "its checksum is wrong".into() });
}

#[test]
fn a_bundle_that_is_there_already_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (path, into) = (dir.path().join("b.zip"), dir.path().join("code"));
    fs::write(&path, zip(&[file("x", b"new")])).unwrap();
    fs::create_dir(&into).unwrap();
    fs::write(into.join("x"), b"old").unwrap();
    assert!(matches!(unpack(&path, &into), Err(UnpackError::Io { .. })));
    assert_eq!(fs::read(into.join("x")).unwrap(), b"old");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "something was left behind");
}

/// What mutations write over a zip: signatures, and what makes names and targets leave.
const TEXTS: &[&[u8]] = &[b"../", b"/", b"..", b"PK\x05\x06", b"PK\x01\x02", b"\xff\xff\xff\xff"];

fn sound() -> Vec<u8> {
    zip(&[
        with_mode("bootstrap", b"#!/bin/sh\nexec true\n", 0o100_755),
        file("lib/a.py", &b"print()\n".repeat(20)),
        with_mode("lib/", b"", 0o040_755),
        symlink("lib/b.py", "a.py"),
        symlink("up", "lib/../bootstrap"),
        Piece { deflated: false, ..file("data", b"0123456789") },
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Whatever is changed in a sound zip: no panic, nothing outside the target, both functions of one mind.
    #[test]
    fn mutations_never_panic_and_never_leave(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        text in proptest::option::of((any::<proptest::sample::Index>(), proptest::sample::select(TEXTS))),
        cut in proptest::option::weighted(0.1, any::<proptest::sample::Index>()),
    ) {
        let mut bytes = sound();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some((at, text)) = text {
            let at = at.index(bytes.len() - text.len());
            bytes[at..at + text.len()].copy_from_slice(text);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok((_, found)) = try_both(&bytes) {
            for (path, text) in found {
                let target = text.strip_prefix("l ").unwrap_or("");
                prop_assert!(!target.starts_with('/') && !target.starts_with(".."), "{path} → {target}");
            }
        }
    }
}
