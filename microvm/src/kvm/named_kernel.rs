//! A guest kernel that somebody names in place of the guest images' own: what can be known to be wrong with it is found
//! before any machine is made of it. Whether it boots, the first machine shows.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::boot_images::KERNEL_MAX_BYTES;
use super::manifest::Kernel;

const ELF: &[u8] = b"\x7fELF";
/// Of a bzImage, and where it stands (Linux, Documentation/x86/boot.rst, `header`).
const BZIMAGE: &[u8] = b"HdrS";
const BZIMAGE_AT: usize = 0x202;
/// Where a bzImage says where its release stands, counted from [`RELEASE_FROM`] (boot.rst, `kernel_version`).
const RELEASE_AT: usize = 0x20e;
const RELEASE_FROM: usize = 0x200;
/// What stands before the release in a kernel that is not compressed (`linux_banner`).
const BANNER: &[u8] = b"Linux version ";
/// Longest release, bytes (`UTS_LEN`).
const RELEASE_MAX_BYTES: usize = 64;

/// A kernel or a module of it is not what it was named as.
#[derive(Debug, thiserror::Error)]
pub enum NamedKernelError {
    /// It can't be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// It is larger than any kernel.
    #[error("{path} has {bytes} bytes; a kernel has at most {KERNEL_MAX_BYTES}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is something else.
    #[error("{path} is no kernel: neither an uncompressed ELF file (vmlinux) nor a bzImage (vmlinuz)")]
    NotAKernel {
        /// The file.
        path: PathBuf,
    },
    /// It is something else, or compressed.
    #[error("{path} is no kernel module: modules are ELF files; if it is compressed, unpack it (`unxz`, `zstd -d`)")]
    NotAModule {
        /// The file.
        path: PathBuf,
    },
}

impl Kernel {
    /// The kernel in `file`, which finds its devices through ACPI or else its command line, with the modules that it
    /// needs to find its drives, in the order in which they are loaded. Blocking: everything is read once.
    pub fn named(file: &Path, acpi: bool, modules: &[PathBuf]) -> Result<Self, NamedKernelError> {
        let path = file.to_path_buf();
        let bytes = read(file)?;
        let bzimage = bytes.get(BZIMAGE_AT..).is_some_and(|rest| rest.starts_with(BZIMAGE));
        if !bzimage && !bytes.starts_with(ELF) {
            return Err(NamedKernelError::NotAKernel { path });
        }
        let release = if bzimage { release_of_bzimage(&bytes) } else { release_of_elf(&bytes) };
        let mut digest = Sha256::new_with_prefix(&bytes);
        for module in modules {
            let bytes = read(module)?;
            if !bytes.starts_with(ELF) {
                return Err(NamedKernelError::NotAModule { path: module.clone() });
            }
            digest.update(&bytes);
        }
        let release = release.unwrap_or_else(|| "of unknown release".to_owned());
        let sha256 = format!("{:x}", digest.finalize());
        Ok(Self { file: path, sha256, release, acpi, modules: modules.to_vec() })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, NamedKernelError> {
    let unreadable = |source| NamedKernelError::Unreadable { path: path.to_path_buf(), source };
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a file")));
    }
    if found.len() > KERNEL_MAX_BYTES {
        return Err(NamedKernelError::TooLarge { path: path.to_path_buf(), bytes: found.len() });
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(unreadable)?.take(KERNEL_MAX_BYTES);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn release_of_bzimage(bytes: &[u8]) -> Option<String> {
    let offset = u16::from_le_bytes(bytes.get(RELEASE_AT..RELEASE_AT + 2)?.try_into().ok()?);
    word(bytes.get(RELEASE_FROM + usize::from(offset)..)?)
}

fn release_of_elf(bytes: &[u8]) -> Option<String> {
    let at = bytes.windows(BANNER.len()).position(|window| window == BANNER)?;
    word(&bytes[at + BANNER.len()..])
}

/// Letters up to a blank or the end of a text.
fn word(bytes: &[u8]) -> Option<String> {
    let word: Vec<u8> = bytes.iter().copied().take(RELEASE_MAX_BYTES).take_while(u8::is_ascii_graphic).collect();
    String::from_utf8(word).ok().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bzimage() -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[BZIMAGE_AT..BZIMAGE_AT + 4].copy_from_slice(BZIMAGE);
        bytes[RELEASE_AT] = 0x40;
        bytes[0x240..0x24f].copy_from_slice(b"6.1.0-9-cloud #");
        bytes
    }

    #[test]
    fn what_is_named_is_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let elf = file("vmlinux", b"\x7fELF..Linux version 6.1.2-own (me) #1");
        let (packed, module) = (file("vmlinuz", &bzimage()), file("virtio.ko", b"\x7fELF module"));
        let compressed = file("virtio.ko.xz", b"\xfd7zXZ");
        let named = Kernel::named(&elf, false, &[]).unwrap();
        assert_eq!((&*named.release, named.acpi, named.sha256.len()), ("6.1.2-own", false, 64));
        let with_module = Kernel::named(&packed, true, std::slice::from_ref(&module)).unwrap();
        assert_eq!((&*with_module.release, with_module.acpi), ("6.1.0-9-cloud", true));
        // Snapshots of one must not be taken for the other's.
        assert_ne!(with_module.sha256, Kernel::named(&packed, true, &[]).unwrap().sha256);
        let told = |result: Result<Kernel, NamedKernelError>| result.unwrap_err().to_string();
        assert!(told(Kernel::named(&compressed, true, &[])).contains("neither an uncompressed ELF"));
        assert!(told(Kernel::named(&elf, true, &[compressed])).contains("unpack it"));
        assert!(told(Kernel::named(directory.path(), true, &[])).contains("not a file"));
        assert!(told(Kernel::named(Path::new("/no/such"), true, &[])).starts_with("/no/such: "));
    }

    #[test]
    fn a_release_that_cannot_be_read_is_no_reason_to_refuse() {
        assert_eq!(release_of_bzimage(&bzimage()[..0x205]), None);
        assert_eq!(release_of_elf(b"\x7fELF"), None);
        assert_eq!(release_of_elf(b"Linux version "), None);
    }
}
