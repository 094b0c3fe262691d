//! The kernel's modules, for kernels that find their drives only with some: Debian's, for one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::SetupError;

/// Where the initramfs has them. `order` names the files, one a line, in the order in which they are to be loaded.
const DIRECTORY: &str = "/modules";
const ORDER: &str = "/modules/order";

/// Loads what the initramfs brought, if anything, and gives its memory back.
pub(super) fn load() -> Result<(), SetupError> {
    let order = match fs::read_to_string(ORDER) {
        Ok(order) => order,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SetupError::at(format!("read {ORDER}"))(error)),
    };
    for name in order.lines().filter(|name| !name.is_empty()) {
        let path = Path::new(DIRECTORY).join(name);
        let loaded = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|file| rustix::system::finit_module(file, c"", 0));
        match loaded {
            // Some kernels have it built in, and some modules are for a processor that this is not.
            Ok(()) | Err(rustix::io::Errno::EXIST | rustix::io::Errno::NODEV) => {}
            Err(error) => return Err(SetupError::at(format!("load the module {name}"))(error.into())),
        }
    }
    fs::remove_dir_all(DIRECTORY).map_err(SetupError::at("remove the loaded modules"))
}
