//! The tree that a bundle unpacks to.
//!
//! Invariants: every path's parent is a directory of the plan; following any symlink, through however many others, ends
//! at a path below the root (whether or not something is there).

use std::collections::BTreeMap;
use std::collections::btree_map;

use hearth_domain::limits::{BUNDLE_MAX_ENTRIES, BUNDLE_UNZIPPED_MAX_BYTES};

use crate::unzip::content;
use crate::unzip::directory::{self, Entry};
use crate::unzip::names::{self, Name};
use crate::unzip::{BundleError, BundleSummary, SYMLINK_TARGET_MAX_BYTES, shown};

/// Most symlinks that following one may lead through (`ELOOP` comes after 40 on Linux).
const SYMLINK_HOPS_MAX: usize = 40;
/// Most parts of targets that are walked for all symlinks of a bundle together: bounds the work, not the result.
const SYMLINK_STEPS_MAX: usize = 1_000_000;

const TYPE_MASK: u32 = 0o170_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// What stands at each path. Parents sort before what is below them.
pub(super) struct Plan<'a> {
    nodes: BTreeMap<String, Node<'a>>,
    unzipped_bytes: u64,
}

pub(super) enum Node<'a> {
    /// `named` if the zip has an entry for it, else it is only implied.
    Directory {
        named: bool,
    },
    File {
        entry: Entry<'a>,
        executable: bool,
    },
    Symlink {
        target: String,
    },
}

impl<'a> Plan<'a> {
    pub(super) fn of(zip: &'a [u8]) -> Result<Self, BundleError> {
        let entries = directory::entries(zip)?;
        let sizes = entries.iter().try_fold(0_u64, |sum, entry| sum.checked_add(entry.size));
        let unzipped_bytes = sizes.filter(|sum| *sum <= BUNDLE_UNZIPPED_MAX_BYTES).ok_or(BundleError::TooLarge)?;
        let mut plan = Self { nodes: BTreeMap::new(), unzipped_bytes };
        for entry in entries {
            plan.add(zip, entry)?;
        }
        if plan.nodes.is_empty() {
            return Err(BundleError::Empty);
        }
        plan.check_parents()?;
        plan.check_symlinks()?;
        Ok(plan)
    }

    pub(super) fn summary(&self) -> BundleSummary {
        BundleSummary { entries: self.nodes.len(), unzipped_bytes: self.unzipped_bytes }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &Entry<'a>)> {
        self.nodes().filter_map(|(path, node)| match node {
            Node::File { entry, .. } => Some((path, entry)),
            Node::Directory { .. } | Node::Symlink { .. } => None,
        })
    }

    fn add(&mut self, zip: &[u8], entry: Entry<'a>) -> Result<(), BundleError> {
        let name = names::check(entry.name)?;
        let raw_name = entry.name;
        let node = node(zip, &name, entry)?;
        for parent in names::above(&name.path) {
            if !self.nodes.contains_key(parent) {
                self.insert(parent.to_owned(), Node::Directory { named: false })?;
            }
        }
        if name.path.is_empty() {
            // `./`: the root, which is there anyway.
            return Ok(());
        }
        match (self.nodes.get_mut(&name.path), &node) {
            (Some(Node::Directory { named: implied @ false }), Node::Directory { .. }) => *implied = true,
            (Some(_), _) => return Err(BundleError::Duplicate(shown(raw_name))),
            (None, _) => self.insert(name.path, node)?,
        }
        Ok(())
    }

    fn insert(&mut self, path: String, node: Node<'a>) -> Result<(), BundleError> {
        if self.nodes.len() >= BUNDLE_MAX_ENTRIES {
            return Err(BundleError::TooManyEntries);
        }
        if let btree_map::Entry::Vacant(vacant) = self.nodes.entry(path) {
            vacant.insert(node);
        }
        Ok(())
    }

    fn check_parents(&self) -> Result<(), BundleError> {
        for path in self.nodes.keys() {
            let Some((parent, _)) = path.rsplit_once('/') else { continue };
            if !matches!(self.nodes.get(parent), Some(Node::Directory { .. })) {
                return Err(BundleError::BelowFile { name: shown(path.as_bytes()), above: shown(parent.as_bytes()) });
            }
        }
        Ok(())
    }

    fn check_symlinks(&self) -> Result<(), BundleError> {
        let mut steps_left = SYMLINK_STEPS_MAX;
        for (path, node) in &self.nodes {
            if let Node::Symlink { target } = node {
                self.follow(path, target, &mut steps_left)?;
            }
        }
        Ok(())
    }

    /// Walks a symlink's target as the kernel would.
    fn follow(&self, path: &str, target: &str, steps_left: &mut usize) -> Result<(), BundleError> {
        let leaves = || BundleError::SymlinkLeaves { name: shown(path.as_bytes()), target: shown(target.as_bytes()) };
        let endless = || BundleError::SymlinkLoop(shown(path.as_bytes()));
        let mut here: Vec<&str> = path.split('/').collect();
        here.pop();
        let mut ahead: Vec<&str> = Vec::new();
        let mut hops = 0;
        let mut next_target = Some(target);
        loop {
            if let Some(target) = next_target.take() {
                hops += 1;
                if target.starts_with('/') {
                    return Err(leaves());
                }
                if hops > SYMLINK_HOPS_MAX {
                    return Err(endless());
                }
                ahead.extend(target.split('/').rev());
            }
            let Some(part) = ahead.pop() else { return Ok(()) };
            *steps_left = steps_left.checked_sub(1).ok_or_else(endless)?;
            match part {
                "" | "." => {}
                ".." => drop(here.pop().ok_or_else(leaves)?),
                part => {
                    here.push(part);
                    if let Some(Node::Symlink { target }) = self.nodes.get(&here.join("/")) {
                        here.pop();
                        next_target = Some(target);
                    }
                }
            }
        }
    }
}

/// What an entry is.
fn node<'a>(zip: &[u8], name: &Name, entry: Entry<'a>) -> Result<Node<'a>, BundleError> {
    let damaged = |reason: &str| BundleError::Damaged { name: shown(entry.name), reason: reason.into() };
    let file_type = entry.mode.unwrap_or(0) & TYPE_MASK;
    match file_type {
        0 | TYPE_FILE | TYPE_DIRECTORY if name.is_directory || file_type == TYPE_DIRECTORY => {
            if entry.size != 0 {
                return Err(damaged("it is a directory and has content"));
            }
            Ok(Node::Directory { named: true })
        }
        0 | TYPE_FILE => {
            // Zips made where there are no modes can't say that the custom runtime's entry point is executable.
            let executable = entry.mode.map_or(name.path == "bootstrap", |mode| mode & 0o111 != 0);
            Ok(Node::File { entry, executable })
        }
        TYPE_SYMLINK if !name.is_directory => {
            if entry.size == 0 || entry.size > SYMLINK_TARGET_MAX_BYTES {
                return Err(damaged("it is a symlink whose target is empty or too long"));
            }
            let mut target = Vec::new();
            match content::copy(zip, &entry, &mut target) {
                Ok(()) => {}
                Err(content::CopyError::Content(error)) => return Err(error),
                Err(content::CopyError::Sink(_)) => unreachable!("a vector takes everything"),
            }
            let target = String::from_utf8(target).ok().filter(|target| !target.contains('\0'));
            Ok(Node::Symlink { target: target.ok_or_else(|| damaged("it is a symlink whose target is no path"))? })
        }
        _ => Err(BundleError::SpecialFile(shown(entry.name))),
    }
}
