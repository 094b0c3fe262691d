//! One sandbox: a process tree (the jail, later the VMM) that can't see or harm what is outside it.
//!
//! Absent on purpose: functions, slots, leases. This crate boots a program in a sandbox, hands out a byte channel to
//! it, and says what it used and how it ended.

pub mod sandbox;

pub use sandbox::{
    BootError, BootSpec, Ended, Isolation, Launcher, Limits, Sandbox, SandboxError, SandboxUsage, Unenforced,
};
