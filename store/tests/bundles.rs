//! Bundles as files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hearth_domain::BundleDigest;
use hearth_store::BundleStore;
use hearth_store::files::FileBundles;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn a_bundle_is_a_readable_file_named_by_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let bundles = FileBundles::open(&dir.path().join("bundles")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(bundles.put(Bytes::from_static(b"abc")).await.unwrap().to_string(), ABC);
    }
    let path = bundles.fetch(ABC.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(names(path.parent().unwrap()), [format!("{ABC}.zip")]);
    assert_eq!(bundles.fetch(BundleDigest([0; 32])).await.unwrap(), None);
}

#[tokio::test]
async fn a_damaged_bundle_is_refused_and_mended_by_the_next_upload() {
    let dir = tempfile::tempdir().unwrap();
    let digest = FileBundles::open(dir.path()).await.unwrap().put(Bytes::from_static(b"abc")).await.unwrap();
    fs::write(dir.path().join(format!("{ABC}.zip")), b"abd").unwrap();
    let bundles = FileBundles::open(dir.path()).await.unwrap();
    let failure = bundles.fetch(digest).await.unwrap_err();
    assert!(failure.to_string().contains(ABC) && failure.to_string().contains("damaged"), "{failure}");
    bundles.put(Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(fs::read(bundles.fetch(digest).await.unwrap().unwrap()).unwrap(), b"abc");
}

#[tokio::test]
async fn retain_removes_what_is_old_and_unknown_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let patient = FileBundles::open(dir.path()).await.unwrap();
    let hasty = FileBundles::open_with(dir.path(), Duration::ZERO).await.unwrap();
    let kept = hasty.put(Bytes::from_static(b"kept")).await.unwrap();
    let dropped = hasty.put(Bytes::from_static(b"dropped")).await.unwrap();
    fs::write(dir.path().join(".upload-cut-off"), b"half").unwrap();
    fs::write(dir.path().join("README"), b"somebody else's").unwrap();
    assert_eq!(patient.retain(&[kept]).await.unwrap(), 0, "removed within the grace period");
    assert_eq!(hasty.retain(&[kept]).await.unwrap(), 1);
    assert_eq!(names(dir.path()), [format!("{kept}.zip"), "README".to_owned()]);
    assert_eq!(hasty.fetch(dropped).await.unwrap(), None);
    assert!(hasty.fetch(kept).await.unwrap().is_some());
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
