//! What is in a directory: metadata only, in an order that depends on names alone.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{ImageError, Times};

/// Everything below a directory; the first node is the directory itself. The children of one directory follow each
/// other, so that what is looked up together lies together.
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// What most nodes' times are likely to be: then their inodes are small.
    pub(super) base_time: Time,
}

/// Seconds since 1970, and nanoseconds.
pub(super) type Time = (i64, u32);

/// One file, directory or link; hard links to a file are one node.
pub(super) struct Node {
    /// Relative to the top; of the first name that was found.
    pub(super) path: PathBuf,
    /// Type and permissions, as in `st_mode`.
    pub(super) mode: u16,
    pub(super) time: Time,
    /// How many names it has in the tree; for a directory as Unix counts.
    pub(super) links: u32,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Directory {
        parent: usize,
        /// Sorted by name, without `.` and `..`.
        entries: Vec<Entry>,
    },
    File {
        bytes: u64,
    },
    Link {
        target: Vec<u8>,
    },
}

pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) node: usize,
}

impl Tree {
    /// Looks at everything below `top`.
    pub(super) fn scan(top: &Path, times: Times) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Read { path: top.to_owned(), source };
        let found = fs::metadata(top).map_err(failed)?;
        if !found.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let mut scan = Scan { top, times, nodes: Vec::new(), linked: HashMap::new() };
        scan.add(PathBuf::new(), &found, 0)?;
        let mut waiting = vec![0];
        while let Some(directory) = waiting.pop() {
            let first = scan.nodes.len();
            scan.list(directory)?;
            let found = first..scan.nodes.len();
            waiting.extend(found.rev().filter(|&node| matches!(scan.nodes[node].kind, Kind::Directory { .. })));
        }
        let base_time = match times {
            Times::Fixed(seconds) => (seconds, 0),
            Times::Kept => scan.nodes[0].time,
        };
        Ok(Self { nodes: scan.nodes, base_time })
    }
}

struct Scan<'a> {
    top: &'a Path,
    times: Times,
    nodes: Vec<Node>,
    /// Files with several names, by device and number.
    linked: HashMap<(u64, u64), usize>,
}

impl Scan<'_> {
    /// Fills in the entries of a directory.
    fn list(&mut self, directory: usize) -> Result<(), ImageError> {
        let path = self.nodes[directory].path.clone();
        let full = self.top.join(&path);
        let failed = |source| ImageError::Read { path: full.clone(), source };
        let mut names: Vec<OsString> = Vec::new();
        for entry in fs::read_dir(&full).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort_unstable();
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let path = path.join(&name);
            let full = self.top.join(&path);
            let metadata = fs::symlink_metadata(&full);
            let metadata = metadata.map_err(|source| ImageError::Read { path: full, source })?;
            let node = self.find(path, &metadata, directory)?;
            found.push(Entry { name: name.into_vec(), node });
        }
        if let Kind::Directory { entries, .. } = &mut self.nodes[directory].kind {
            *entries = found;
        }
        Ok(())
    }

    /// The node of a file: a new one, unless this is another name of one that is there.
    fn find(&mut self, path: PathBuf, metadata: &Metadata, parent: usize) -> Result<usize, ImageError> {
        if metadata.is_dir() {
            self.nodes[parent].links += 1;
        } else if metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            if let Some(&node) = self.linked.get(&key) {
                self.nodes[node].links += 1;
                return Ok(node);
            }
            self.linked.insert(key, self.nodes.len());
        }
        self.add(path, metadata, parent)
    }

    fn add(&mut self, path: PathBuf, metadata: &Metadata, parent: usize) -> Result<usize, ImageError> {
        let full = || self.top.join(&path);
        let kind = if metadata.is_dir() {
            Kind::Directory { parent, entries: Vec::new() }
        } else if metadata.is_file() {
            Kind::File { bytes: metadata.len() }
        } else if metadata.is_symlink() {
            let target = fs::read_link(full()).map_err(|source| ImageError::Read { path: full(), source })?;
            Kind::Link { target: target.into_os_string().into_vec() }
        } else {
            return Err(ImageError::Special { path: full() });
        };
        let time = match self.times {
            Times::Fixed(seconds) => (seconds, 0),
            Times::Kept => (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default()),
        };
        // The upper half of `st_mode` is empty on Linux.
        let mode = u16::try_from(metadata.mode() & 0xffff).unwrap_or_default();
        let links = if metadata.is_dir() { 2 } else { 1 };
        self.nodes.push(Node { path, mode, time, links, kind });
        Ok(self.nodes.len() - 1)
    }
}
