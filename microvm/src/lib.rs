//! One sandbox: a process tree (the jail, a microVM) that can't see or harm what is outside it.
//!
//! Absent on purpose: functions, slots, leases. This crate boots a program in a sandbox, hands out a byte channel to
//! it, and says what it used and how it ended.

mod account;
mod burial;
mod cgroup;
mod exit;
mod ids;
pub mod image;
pub mod jail;
mod kernel;
pub mod kvm;
mod leftovers;
mod privileges;
pub mod probe;
pub mod process;
mod program;
pub mod sandbox;
mod state;
mod sys;
mod thread;
mod tree;

pub use sandbox::{
    BootError, BootSpec, Ended, GuestImage, Isolation, Launcher, Limits, RestoreError, RestoreSpec, Sandbox,
    SandboxError, SandboxUsage, Unenforced,
};
