//! What the standard library and `rustix` don't offer: starting a process in new namespaces from a program that has
//! threads. The only place of this crate with `unsafe`.
//!
//! - [`script`]: what a child does before it executes its program, as data.
//! - [`syscall`]: one system call by registers, without libc's `errno`.
//! - [`spawn`]: a child that shares this process's memory, carries out a script and executes.
//! - [`calibrate`]: a guest of three instructions.
//! - [`event`], [`identity`], [`kvm`], [`mount`]: single calls that have no safe wrapper elsewhere.

pub(crate) mod calibrate;
pub(crate) mod event;
pub(crate) mod identity;
pub(crate) mod kvm;
pub(crate) mod mount;
pub(crate) mod script;
pub(crate) mod spawn;
mod syscall;
