//! Control groups, version 1, version 2 and hosts that have both mounted.
//!
//! A [`Parent`] is this launcher's own directory in every hierarchy, beneath the cgroup the process itself is in (or a
//! configured one). Each sandbox gets a [`Group`] in it. Nothing outside the parent is ever written, except that on
//! version 2 controllers are switched on above it.
//!
//! Invariant: a process is in its group from its first instant, so nothing it does is uncounted. Version 2 does that by
//! `CLONE_INTO_CGROUP`; on version 1 the *thread* that clones sits in the group beforehand ([`Group::enter`]), because
//! moving a process afterwards costs the kernel a grace period of some 10 ms.

mod berth;
mod directory;
mod group;
mod layout;
mod parent;
mod quota;

pub(crate) use berth::Berth;
pub(crate) use group::{Group, remove_leftovers};
pub(crate) use layout::{Controller, Hierarchy, Layout};
pub(crate) use parent::Parent;
