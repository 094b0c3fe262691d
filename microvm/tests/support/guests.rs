//! Launchers of microVMs for tests: with guest images that hold next to nothing, or with real ones.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use hearth_microvm::kvm::manifest::{Image, Kernel, MANIFEST_FILE, MANIFEST_VERSION, Manifest};
use hearth_microvm::kvm::{KvmConfig, KvmLauncher};
use hearth_microvm::{BootSpec, Limits};
use tempfile::TempDir;

/// Where kernels are linked to.
const KERNEL_START: u64 = 16 << 20;

/// A launcher in a directory of its own.
pub(crate) struct Host {
    pub(crate) launcher: KvmLauncher,
    pub(crate) directory: TempDir,
}

impl std::ops::Deref for Host {
    type Target = KvmLauncher;
    fn deref(&self) -> &KvmLauncher {
        &self.launcher
    }
}

/// Compiles the stand-in for hearth-vmm that behaves in this way.
pub(crate) fn stand_in(directory: &Path, way: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/sys/stand_in.rs");
    let program = directory.join(format!("hearth-vmm-{way}"));
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "panic=abort", "-o"]);
    let status = rustc.arg(&program).arg(source).env("HEARTH_STAND_IN", way).status().unwrap();
    assert!(status.success());
    program
}

/// Guest images whose kernel is `code`, 64-bit instructions.
pub(crate) fn images(directory: &Path, code: &[u8]) -> PathBuf {
    let images = directory.join("images");
    std::fs::create_dir_all(&images).unwrap();
    std::fs::write(images.join("vmlinux"), elf(code)).unwrap();
    std::fs::write(images.join("root"), [0; 4096]).unwrap();
    let kernel =
        Kernel { file: "vmlinux".into(), sha256: String::new(), release: "0".into(), acpi: false, modules: Vec::new() };
    let image = Image { name: "provided".into(), file: "root".into(), sha256: "1".into(), interpreter: None };
    let manifest = Manifest { version: MANIFEST_VERSION, kernel, images: vec![image] };
    std::fs::write(images.join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
    images
}

/// A launcher's configuration in this directory.
pub(crate) fn config(directory: &Path, vmm: PathBuf, images: PathBuf) -> KvmConfig {
    KvmConfig { lock_dir: directory.join("locks"), spares: 1, ..KvmConfig::new(directory.join("state"), vmm, images) }
}

/// A machine as small as they come, with this very program for a first process: it is never run by a stand-in.
pub(crate) fn spec(id: &str) -> BootSpec {
    BootSpec {
        id: id.to_owned(),
        init: std::env::current_exe().unwrap(),
        args: vec![OsString::from("--wanted")],
        env: vec![("TZ".into(), ":UTC".into())],
        read_only: Vec::new(),
        limits: Limits {
            memory_bytes: 128 << 20,
            milli_cpus: 1_000,
            max_processes: 64,
            max_open_files: 256,
            tmp_bytes: 16 << 20,
        },
        image: Some("provided".into()),
        snapshot_into: None,
    }
}

/// An ELF kernel of one segment that is entered at its first instruction by the 64-bit protocol.
fn elf(code: &[u8]) -> Vec<u8> {
    let code_at = 64 + 56_u64;
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    [KERNEL_START, 64, 0].into_iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let size = code.len() as u64;
    [code_at, KERNEL_START, KERNEL_START, size, size, 4096].into_iter().for_each(|n| bytes.extend(n.to_le_bytes()));
    bytes.extend(code);
    bytes
}
