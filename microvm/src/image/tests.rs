//! Images are read back twice: by a reader written for these tests, and by erofs-utils where they are installed.

mod reader;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::*;
use reader::{Content, Found};

const NOW: i64 = 1_700_000_000;

fn image(directory: &Path, options: Options) -> Vec<u8> {
    let out = tempfile::NamedTempFile::new().unwrap();
    let written = write(directory, out.as_file(), options).unwrap();
    let bytes = fs::read(out.path()).unwrap();
    assert_eq!((written.bytes, written.bytes % 4096), (bytes.len() as u64, 0));
    bytes
}

fn read_back(directory: &Path) -> BTreeMap<PathBuf, Found> {
    let bytes = image(directory, Options { owner: (0, 0), times: Times::Fixed(NOW) });
    assert_eq!(bytes, image(directory, Options { owner: (0, 0), times: Times::Fixed(NOW) }));
    let found = reader::read(&bytes);
    for (path, found) in &found {
        let there = fs::symlink_metadata(directory.join(path)).unwrap();
        assert_eq!((u32::from(found.mode), found.owner, found.time), (there.mode(), (0, 0), (NOW, 0)), "{path:?}");
        match &found.content {
            Content::Directory(count) => assert_eq!(*count, fs::read_dir(directory.join(path)).unwrap().count()),
            Content::File(content) => assert!(*content == fs::read(directory.join(path)).unwrap(), "{path:?}"),
            Content::Link(target) => assert_eq!(*target, fs::read_link(directory.join(path)).unwrap()),
        }
    }
    found
}

/// Files of every size about which the layout decides, names up to the limit, links of both kinds, depth.
fn hard_cases() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    for bytes in [0, 1, 31, 32, 2047, 2048, 2049, 4063, 4064, 4095, 4096, 4097, 6143, 6145, 8192, 300_000] {
        let content: Vec<u8> = (0..bytes).map(|at: usize| (at * 7 + at / 251) as u8).collect();
        fs::write(top.join(format!("file-{bytes}")), content).unwrap();
    }
    fs::set_permissions(top.join("file-1"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(top.join("file-4097"), top.join("another name")).unwrap();
    for bytes in [1, 100, 2048, 2049, 4000] {
        symlink("x".repeat(bytes), top.join(format!("link-{bytes}"))).unwrap();
    }
    let mut deep = top.join("!");
    for level in 0..60 {
        deep.push(format!("level-{level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("ö"), "deep").unwrap();
    fs::create_dir(top.join("long")).unwrap();
    for index in 0..40 {
        fs::write(top.join("long").join(format!("{index:0255}")), format!("{index}")).unwrap();
    }
    fs::create_dir(top.join("empty")).unwrap();
    directory
}

#[test]
fn hard_cases_come_back_as_they_were() {
    let directory = hard_cases();
    let found = read_back(directory.path());
    let (one, other) = (&found[Path::new("file-4097")], &found[Path::new("another name")]);
    assert_eq!((one.number, one.links, other.links), (other.number, 2, 2));
    assert_eq!((found[Path::new("empty")].links, found[Path::new("")].links), (2, 5));
    assert_eq!(found.keys().filter(|path| path.starts_with("long")).count(), 41);
}

#[test]
fn times_are_kept_where_asked_and_the_owner_is_who_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "content").unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 123_456_789);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let found = reader::read(&image(directory.path(), Options { owner: (993, 70_000), times: Times::Kept }));
    let file = &found[Path::new("file")];
    assert_eq!((file.owner, file.time), ((993, 70_000), (1_234_567_890, 123_456_789)));
}

#[test]
fn what_is_no_file_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
    let out = tempfile::tempfile().unwrap();
    let refused = write(directory.path(), &out, Options::default());
    assert!(matches!(refused, Err(ImageError::Special { path }) if path.ends_with("socket")));
    assert!(matches!(write(Path::new("/nowhere"), &out, Options::default()), Err(ImageError::Read { .. })));
}

#[test]
fn a_file_that_changes_its_size_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    for (before, after) in [(10_000, 9_999), (10_000, 10_001), (100, 101), (100, 99)] {
        let path = directory.path().join("file");
        fs::write(&path, vec![1; before]).unwrap();
        let tree = tree::Tree::scan(directory.path(), Times::Kept).unwrap();
        let layout = layout::Layout::plan(&tree, Options::default()).unwrap();
        fs::write(&path, vec![1; after]).unwrap();
        let out = tempfile::tempfile().unwrap();
        let outcome = output::write(directory.path(), &tree, &layout, Options::default(), &out);
        assert!(matches!(outcome, Err(ImageError::Changed { .. })), "{before} {after}");
    }
}

#[test]
fn many_files_take_little_room() {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..20_000 {
        if index % 1000 == 0 {
            fs::create_dir(directory.path().join(format!("{}", index / 1000))).unwrap();
        }
        fs::write(directory.path().join(format!("{}/{index}.py", index / 1000)), format!("{index:0200}")).unwrap();
    }
    let bytes = image(directory.path(), Options::default());
    assert_eq!(reader::read(&bytes).len(), 20_021);
    // 200 bytes of content, 32 of inode, 23 of entry, and what the borders of blocks cost.
    assert!(bytes.len() < 20_000 * 290, "{}", bytes.len());
}

#[test]
fn erofs_utils_find_no_fault_and_extract_the_same() {
    if Command::new("fsck.erofs").arg("-V").output().is_err() {
        eprintln!("SKIPPED: no fsck.erofs: apt-get install erofs-utils");
        return;
    }
    let (directory, out) = (hard_cases(), tempfile::NamedTempFile::new().unwrap());
    write(directory.path(), out.as_file(), Options::default()).unwrap();
    let extracted = tempfile::tempdir().unwrap();
    let to = format!("--extract={}", extracted.path().join("tree").display());
    let fsck = Command::new("fsck.erofs").args(["--no-preserve", &to]).arg(out.path()).output().unwrap();
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stderr));
    let mut diff = Command::new("diff");
    diff.args(["-r", "--no-dereference"]).args([directory.path(), &extracted.path().join("tree")]);
    let same = diff.output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_tree_comes_back(
        files in proptest::collection::vec(("[a-c./-]{1,12}", 0..9000_usize), 0..60)
    ) {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let parts = name.split('/').filter(|part| !["", ".", ".."].contains(part));
            let path: PathBuf = directory.path().join(parts.collect::<PathBuf>());
            // A name may be taken by another kind of file already; then there is one file less.
            if path.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok()) {
                let _ = fs::write(path, vec![b'x'; bytes]);
            }
        }
        read_back(directory.path());
    }
}
