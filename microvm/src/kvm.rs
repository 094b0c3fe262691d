//! MicroVMs: each sandbox a machine of its own on KVM, run by a `hearth-vmm` process that is itself in a jail.
//!
//! Invariants: a boot image is made once for each kind of machine and never changes.

pub mod manifest;
