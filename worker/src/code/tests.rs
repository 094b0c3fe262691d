//! The code cache: unpacked once however many ask, bounded, whole after a crash.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use hearth_microvm::{BootError, BootSpec, Isolation, Sandbox, SandboxError, Unenforced};

use super::*;

/// Zips in a directory, each with one file of a thousand bytes; counts how often they are fetched.
struct Bundles {
    dir: tempfile::TempDir,
    fetched: AtomicUsize,
}

#[async_trait]
impl BundleStore for Bundles {
    async fn put(&self, _: Bytes) -> Result<BundleDigest, StoreFailure> {
        unreachable!("the cache only reads")
    }

    async fn fetch(&self, digest: BundleDigest) -> Result<Option<PathBuf>, StoreFailure> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let path = self.dir.path().join(digest.to_string());
        Ok(path.exists().then_some(path))
    }

    async fn retain(&self, _: &[BundleDigest]) -> Result<usize, StoreFailure> {
        unreachable!("the cache only reads")
    }
}

impl Bundles {
    fn new(count: u8) -> Arc<Self> {
        let bundles = Self { dir: tempfile::tempdir().unwrap(), fetched: AtomicUsize::new(0) };
        for number in 0..count {
            let file = fs::File::create(bundles.dir.path().join(digest(number).to_string())).unwrap();
            let mut zip = zip::ZipWriter::new(file);
            zip.start_file("main.py", zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&[number; 1_000]).unwrap();
            zip.finish().unwrap();
        }
        Arc::new(bundles)
    }
}

/// Boots nothing. Makes images of four thousand bytes, and counts them, if it makes any.
struct Prepares {
    images: bool,
    made: AtomicUsize,
}

#[async_trait]
impl Launcher for Prepares {
    fn isolation(&self) -> Isolation {
        if self.images { Isolation::Kvm } else { Isolation::Jail }
    }

    fn unenforced(&self) -> Vec<Unenforced> {
        Vec::new()
    }

    async fn boot(&self, spec: BootSpec) -> Result<Box<dyn Sandbox>, BootError> {
        unreachable!("{spec:?}")
    }

    fn layers_in_code(&self) -> bool {
        self.images
    }

    fn prepare_code(&self, code: &Path) -> io::Result<PathBuf> {
        if !self.images {
            return Ok(code.to_owned());
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        let image = code.with_extension("image");
        fs::write(&image, [0; 4_000])?;
        Ok(image)
    }

    async fn clean_up(&self) -> Result<usize, SandboxError> {
        unreachable!("the cache boots nothing")
    }
}

fn launcher(images: bool) -> Arc<Prepares> {
    Arc::new(Prepares { images, made: AtomicUsize::new(0) })
}

fn digest(number: u8) -> BundleDigest {
    BundleDigest([number; 32])
}

fn open(root: &Path, boot: &str, bundles: &Arc<Bundles>, max_bytes: u64) -> Arc<CodeCache> {
    open_for(launcher(false), root, boot, bundles, max_bytes)
}

fn open_for(
    launcher: Arc<dyn Launcher>,
    root: &Path,
    boot: &str,
    bundles: &Arc<Bundles>,
    max_bytes: u64,
) -> Arc<CodeCache> {
    let bytes = IntGauge::new("bytes", "bytes").unwrap();
    Arc::new(CodeCache::open(root, boot, bundles.clone(), launcher, max_bytes, Starting::default(), bytes).unwrap())
}

fn dirs(root: &Path) -> usize {
    fs::read_dir(root).unwrap().count()
}

#[tokio::test]
async fn many_who_ask_at_once_get_one_unpacking() {
    let (root, bundles) = (tempfile::tempdir().unwrap(), Bundles::new(1));
    let cache = open(root.path(), "boot", &bundles, 10_000);
    let all = futures::future::join_all((0..20).map(|_| cache.get(CodeKey::Code(digest(0))))).await;
    assert_eq!(bundles.fetched.load(Ordering::Relaxed), 1);
    for lease in all {
        assert_eq!(fs::read(lease.unwrap().path().join("main.py")).unwrap(), [0; 1_000]);
    }
    assert_eq!(cache.newest(), [digest(0)]);
}

#[tokio::test]
async fn one_who_stops_waiting_leaves_the_code_to_the_next() {
    let (root, bundles) = (tempfile::tempdir().unwrap(), Bundles::new(1));
    let cache = open(root.path(), "boot", &bundles, 10_000);
    for _ in 0..3 {
        let waiting = cache.get(CodeKey::Code(digest(0)));
        tokio::pin!(waiting);
        let _ = futures::poll!(waiting.as_mut());
        tokio::task::yield_now().await;
    }
    assert!(cache.get(CodeKey::Code(digest(0))).await.unwrap().path().join("main.py").exists());
    assert_eq!(bundles.fetched.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_not_in_use_goes_least_recently_used_first() {
    let (root, bundles) = (tempfile::tempdir().unwrap(), Bundles::new(4));
    let cache = open(root.path(), "boot", &bundles, 2_500);
    let held = cache.get(CodeKey::Code(digest(0))).await.unwrap();
    for number in [1, 2, 1, 3] {
        cache.get(CodeKey::Code(digest(number))).await.unwrap();
    }
    assert!(held.path().exists());
    assert_eq!(cache.newest(), [digest(3), digest(0)]);
    assert_eq!(dirs(&root.path().join("boot")), 2);
    cache.get(CodeKey::Code(digest(1))).await.unwrap();
    assert_eq!(cache.newest(), [digest(1), digest(0)]);
}

#[tokio::test]
async fn a_restart_keeps_the_code_and_a_reboot_does_not() {
    let (root, bundles) = (tempfile::tempdir().unwrap(), Bundles::new(1));
    open(root.path(), "boot", &bundles, 10_000).get(CodeKey::Code(digest(0))).await.unwrap();
    fs::create_dir(root.path().join("boot/.unpacking-1")).unwrap();
    let again = open(root.path(), "boot", &bundles, 10_000);
    assert_eq!(again.newest(), [digest(0)]);
    assert_eq!(dirs(&root.path().join("boot")), 1);
    again.get(CodeKey::Code(digest(0))).await.unwrap();
    assert_eq!(bundles.fetched.load(Ordering::Relaxed), 1);
    assert!(open(root.path(), "next-boot", &bundles, 10_000).newest().is_empty());
    assert_eq!(dirs(root.path()), 1);
}

#[tokio::test]
async fn an_image_is_made_once_counted_and_removed_with_its_code() {
    let (root, bundles) = (tempfile::tempdir().unwrap(), Bundles::new(3));
    let launcher = launcher(true);
    let cache = open_for(launcher.clone(), root.path(), "boot", &bundles, 11_000);
    let all = futures::future::join_all((0..5).map(|_| cache.get(CodeKey::Code(digest(0))))).await;
    for lease in all {
        assert_eq!(lease.unwrap().path(), root.path().join(format!("boot/{}.image", digest(0))));
    }
    assert_eq!(launcher.made.load(Ordering::Relaxed), 1);
    assert_eq!(cache.bytes.get(), 5_000);
    cache.get(CodeKey::Code(digest(1))).await.unwrap();
    cache.get(CodeKey::Code(digest(2))).await.unwrap();
    assert_eq!(cache.newest(), [digest(2), digest(1)]);
    assert_eq!((cache.bytes.get(), dirs(&root.path().join("boot"))), (10_000, 4));
    // After a restart the code is there still, and its image is made anew.
    drop(cache);
    let again = open_for(launcher.clone(), root.path(), "boot", &bundles, 11_000);
    assert_eq!((again.newest().len(), again.bytes.get(), dirs(&root.path().join("boot"))), (2, 2_000, 2));
    again.get(CodeKey::Code(digest(1))).await.unwrap();
    assert_eq!((bundles.fetched.load(Ordering::Relaxed), launcher.made.load(Ordering::Relaxed)), (3, 4));
}

#[tokio::test]
async fn a_bundle_that_is_not_there_is_asked_for_anew() {
    let (root, bundles) = (tempfile::tempdir().unwrap(), Bundles::new(1));
    let cache = open(root.path(), "boot", &bundles, 10_000);
    assert!(
        matches!(cache.get(CodeKey::Code(digest(9))).await, Err(CodeError::Missing(missing)) if missing == digest(9))
    );
    fs::copy(bundles.dir.path().join(digest(0).to_string()), bundles.dir.path().join(digest(9).to_string())).unwrap();
    assert!(cache.get(CodeKey::Code(digest(9))).await.is_ok());
}

fn with_files(bundles: &Bundles, number: u8, files: &[(&str, &str)]) -> BundleDigest {
    let file = fs::File::create(bundles.dir.path().join(digest(number).to_string())).unwrap();
    let mut zip = zip::ZipWriter::new(file);
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    digest(number)
}

#[tokio::test]
async fn layers_are_merged_a_later_one_over_an_earlier_one() {
    let (root, bundles) = (tempfile::tempdir().unwrap(), Bundles::new(1));
    let below = with_files(&bundles, 1, &[("python/a.py", "below"), ("python/b.py", "below"), ("bin", "a file")]);
    let above = with_files(&bundles, 2, &[("python/b.py", "above"), ("bin/tool", "above")]);
    let function = |layers| FunctionSpec { bundle: digest(0), layers, ..crate::slot::testing::function("python3.11") };
    let read = |dir: &Path, name: &str| fs::read_to_string(dir.join(name)).unwrap();

    let cache = open(root.path(), "boot-1", &bundles, u64::MAX);
    let lease = cache.of(&function(vec![below, above])).await.unwrap();
    let layers = lease.layers().unwrap();
    assert!(lease.path().join("main.py").exists() && !lease.layers_in_code());
    assert_eq!(["python/a.py", "python/b.py", "bin/tool"].map(|name| read(layers, name)), ["below", "above", "above"]);
    let other_order = cache.of(&function(vec![above, below])).await.unwrap();
    assert_eq!(read(other_order.layers().unwrap(), "python/b.py"), "below");
    assert_eq!(read(other_order.layers().unwrap(), "bin"), "a file");
    assert_eq!(lease.path(), other_order.path(), "the code is shared");

    let missing = cache.of(&function(vec![below, digest(9)])).await.unwrap_err();
    assert!(matches!(missing, CodeError::Missing(found) if found == digest(9)), "{missing}");
    assert_eq!(dirs(&root.path().join("boot-1")), 3, "the code, two merges and nothing of the third");
}

#[tokio::test]
async fn a_microvm_has_code_and_layers_in_one_image() {
    let (root, bundles) = (tempfile::tempdir().unwrap(), Bundles::new(1));
    let layer = with_files(&bundles, 1, &[("lib/x", "x")]);
    let launcher = launcher(true);
    let cache = open_for(launcher.clone(), root.path(), "boot-1", &bundles, u64::MAX);
    let spec = FunctionSpec { bundle: digest(0), layers: vec![layer], ..crate::slot::testing::function("provided") };
    let lease = cache.of(&spec).await.unwrap();
    assert!(lease.layers_in_code() && lease.layers().is_none());
    assert_eq!(lease.path().extension().unwrap(), "image");
    let dir = lease.path().with_extension("");
    assert!(dir.join("task/main.py").exists() && dir.join("opt/lib/x").exists());
    assert_eq!((launcher.made.load(Ordering::Relaxed), cache.newest()), (1, vec![digest(0)]));
}
