//! How large a free block of memory has to be for the kernel to report it to the host, which then takes it back.
//!
//! The kernel reports blocks of [`ORDER`]'s size only, and none while less than 32 of them are free beyond its reserve
//! (`page_reporting_process_zone` in mm/page_reporting.c). By default that is 32 × 4 MiB: a small guest would never report
//! anything. The parameter can't be on the kernel's command line, because the balloon driver sets it when it starts.
//!
//! Absent on purpose: sysfs within the sandbox. It is mounted nowhere and gone when this is done.

use std::io;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// 2⁵ pages, 128 KiB: the host's cost of taking a block back is small beside the memory, and 4 MiB free are enough for
/// it to begin.
const ORDER: &[u8] = b"5";
/// Relative to sysfs.
const PARAMETER: &str = "module/page_reporting/parameters/page_reporting_order";

/// Has the kernel report blocks of [`ORDER`].
pub(super) fn refine() -> io::Result<()> {
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let sysfs = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
    let parameter = rustix::fs::openat(&sysfs, PARAMETER, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::io::write(&parameter, ORDER).map(drop)?)
}
