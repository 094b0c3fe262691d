//! The image, front to back: superblock, inodes with their tails, blocks.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::format::{BLOCK, Inode, SUPERBLOCK_AT, Superblock, directory_block, file_type};
use super::layout::{Layout, Place, names};
use super::tree::{Kind, Node, Tree};
use super::{ImageError, Options};

/// What is collected before it is written, bytes. Larger pieces of files go from file to file within the kernel.
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes the image of `tree`, which was found at `top`.
pub(super) fn write(top: &Path, tree: &Tree, layout: &Layout, options: Options, out: &File) -> Result<(), ImageError> {
    let mut output = Output { top, tree, layout, out: BufWriter::with_capacity(BUFFER_BYTES, out), at: 0 };
    output.superblock()?;
    for (index, place) in layout.places.iter().enumerate() {
        output.inode(index, place, options)?;
    }
    output.pad(layout.data_block * BLOCK)?;
    for (node, place) in tree.nodes.iter().zip(&layout.places) {
        output.blocks(node, place)?;
    }
    output.out.flush().map_err(ImageError::Write)
}

struct Output<'a> {
    top: &'a Path,
    tree: &'a Tree,
    layout: &'a Layout,
    out: BufWriter<&'a File>,
    /// Bytes written.
    at: u64,
}

impl Output<'_> {
    fn superblock(&mut self) -> Result<(), ImageError> {
        let superblock = Superblock {
            // The first inode follows the superblock: its number is small whatever the image.
            root: u16::try_from(self.layout.places[0].inode()).map_err(|_| ImageError::TooLarge)?,
            inodes: self.tree.nodes.len() as u64,
            blocks: self.layout.blocks,
            time: self.tree.base_time,
        };
        self.pad(SUPERBLOCK_AT)?;
        self.put(&superblock.encode())
    }

    /// An inode, and what of its content lies with it.
    fn inode(&mut self, index: usize, place: &Place, options: Options) -> Result<(), ImageError> {
        let node = &self.tree.nodes[index];
        let inode = Inode {
            extended: place.extended,
            mode: node.mode,
            links: node.links,
            bytes: place.bytes,
            data: place.data,
            number: u32::try_from(index + 1).map_err(|_| ImageError::TooLarge)?,
            owner: options.owner,
            time: node.time,
        };
        self.pad(place.at)?;
        self.put(&inode.encode())?;
        if place.tail_bytes() == 0 {
            return Ok(());
        }
        match &node.kind {
            Kind::Directory { .. } => self.directory(node, place, place.counts.len() - 1..place.counts.len()),
            Kind::Link { target } => self.put(&target[target.len() - tail(place)..]),
            Kind::File { .. } => self.file(node, place.block_bytes(), place.bytes),
        }
    }

    /// What of a node's content lies in blocks.
    fn blocks(&mut self, node: &Node, place: &Place) -> Result<(), ImageError> {
        if place.block_bytes() == 0 {
            return Ok(());
        }
        match &node.kind {
            Kind::Directory { .. } => {
                let inline = usize::from(place.tail_bytes() > 0);
                self.directory(node, place, 0..place.counts.len() - inline)?;
            }
            Kind::Link { target } => self.put(&target[..target.len() - tail(place)])?,
            Kind::File { .. } => self.file(node, 0, place.block_bytes())?,
        }
        self.pad(self.at.next_multiple_of(BLOCK))
    }

    /// Some blocks of a directory.
    fn directory(&mut self, node: &Node, place: &Place, blocks: std::ops::Range<usize>) -> Result<(), ImageError> {
        let Kind::Directory { parent, entries } = &node.kind else { return Ok(()) };
        let by_name = |name: &[u8]| entries.binary_search_by(|entry| (*entry.name).cmp(name));
        let itself = |index: usize| (self.layout.places[index].inode(), file_type(self.tree.nodes[index].mode));
        let all: Vec<(&[u8], u64, u8)> = names(entries.iter().map(|entry| &*entry.name))
            .map(|name| {
                let (inode, file_type) = match by_name(name) {
                    Ok(found) => itself(entries[found].node),
                    Err(_) if name == b"." => (place.inode(), file_type(node.mode)),
                    Err(_) => itself(*parent),
                };
                (name, inode, file_type)
            })
            .collect();
        let mut first = place.counts[..blocks.start].iter().sum();
        for (index, count) in place.counts[blocks.clone()].iter().enumerate() {
            let block = directory_block(&all[first..first + count]);
            self.put(&block)?;
            if blocks.start + index + 1 < place.counts.len() {
                self.pad(self.at.next_multiple_of(BLOCK))?;
            }
            first += count;
        }
        Ok(())
    }

    /// Part of a file, which is still as large as it was. Where the part ends with the file, nothing may follow.
    fn file(&mut self, node: &Node, from: u64, to: u64) -> Result<(), ImageError> {
        let path = self.top.join(&node.path);
        let mut file = open(&path, from).map_err(|source| ImageError::Read { path: path.clone(), source })?;
        // Reading and writing fail in one call; which of them it was is of no use to whoever sees the message.
        let copied = io::copy(&mut (&mut file).take(to - from), &mut self.out).map_err(ImageError::Write)?;
        self.at += copied;
        let Kind::File { bytes } = node.kind else { return Ok(()) };
        let now = file.metadata().map_err(|source| ImageError::Read { path: path.clone(), source })?.len();
        if copied == to - from && now == bytes { Ok(()) } else { Err(ImageError::Changed { path }) }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.out.write_all(bytes).map_err(ImageError::Write)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to a position.
    fn pad(&mut self, to: u64) -> Result<(), ImageError> {
        const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
        while self.at < to {
            let bytes = usize::try_from(to - self.at).unwrap_or(ZEROS.len()).min(ZEROS.len());
            self.put(&ZEROS[..bytes])?;
        }
        Ok(())
    }
}

/// [`Place::tail_bytes`], which is less than a block.
fn tail(place: &Place) -> usize {
    usize::try_from(place.tail_bytes()).unwrap_or_default()
}

/// Opens a file to be read from a position; not what a link that took its place meanwhile points at.
fn open(path: &PathBuf, from: u64) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = File::from(openat(CWD, path, flags, Mode::empty())?);
    if from > 0 {
        file.seek(SeekFrom::Start(from))?;
    }
    Ok(file)
}
