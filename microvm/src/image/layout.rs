//! Where everything goes: inodes in the order of the tree, each with the end of its content where that is small, then
//! whole blocks of content in the same order.

use super::format::{
    BLOCK, COMPACT_BYTES, Data, EXTENDED_BYTES, Inode, SLOT, SUPERBLOCK_AT, SUPERBLOCK_BYTES, directory_blocks,
};
use super::tree::{Kind, Node, Tree};
use super::{ImageError, Options};

/// The longest end of a file that lies with its inode, bytes. It must not cross a block, so a longer one would waste
/// as much there as in a block of its own.
const TAIL_MAX: u64 = BLOCK / 2;

/// Places for a tree's nodes.
pub(super) struct Layout {
    /// In the order of the tree's nodes.
    pub(super) places: Vec<Place>,
    /// First block of content.
    pub(super) data_block: u64,
    /// Blocks of the image.
    pub(super) blocks: u32,
}

/// Where one node is.
#[derive(Debug)]
pub(super) struct Place {
    /// Position of its inode in the image, bytes.
    pub(super) at: u64,
    pub(super) extended: bool,
    /// Size of its content.
    pub(super) bytes: u64,
    pub(super) data: Data,
    /// For a directory, how many entries are in each of its blocks.
    pub(super) counts: Vec<usize>,
}

impl Place {
    /// The inode's number.
    pub(super) fn inode(&self) -> u64 {
        self.at / SLOT
    }

    /// Size of the inode itself.
    pub(super) fn inode_bytes(&self) -> u64 {
        if self.extended { EXTENDED_BYTES } else { COMPACT_BYTES }
    }

    /// How much of its content follows the inode.
    pub(super) fn tail_bytes(&self) -> u64 {
        match self.data {
            Data::Inline(_) => self.bytes % BLOCK,
            Data::Blocks(_) => 0,
        }
    }

    /// How much of its content is in blocks.
    pub(super) fn block_bytes(&self) -> u64 {
        self.bytes - self.tail_bytes()
    }
}

impl Layout {
    /// Finds a place for each node of the tree.
    pub(super) fn plan(tree: &Tree, options: Options) -> Result<Self, ImageError> {
        let mut end = SUPERBLOCK_AT + SUPERBLOCK_BYTES;
        let mut places = Vec::with_capacity(tree.nodes.len());
        for node in &tree.nodes {
            let (counts, bytes) = content(node);
            let compact = Inode::is_compact(bytes, node.links, options.owner, node.time, tree.base_time);
            let mut place = Place { at: 0, extended: !compact, bytes, data: Data::Blocks(0), counts };
            if (1..=TAIL_MAX).contains(&(bytes % BLOCK)) {
                place.data = Data::Inline(0);
            }
            place.at = position(end, place.inode_bytes(), place.tail_bytes());
            end = place.at + place.inode_bytes() + place.tail_bytes();
            places.push(place);
        }
        let data_block = end.div_ceil(BLOCK);
        let mut next = data_block;
        for place in &mut places {
            // Content that is all in the tail has no blocks; then the number means nothing, and is 0.
            let blocks = place.block_bytes().div_ceil(BLOCK);
            let first = if blocks == 0 { 0 } else { u32::try_from(next).map_err(|_| ImageError::TooLarge)? };
            place.data = match place.data {
                Data::Blocks(_) => Data::Blocks(first),
                Data::Inline(_) => Data::Inline(first),
            };
            next += blocks;
        }
        Ok(Self { places, data_block, blocks: u32::try_from(next).map_err(|_| ImageError::TooLarge)? })
    }

    /// Size of the image.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }
}

/// The first place from `end` on for an inode: on a slot, and with no block's border within its tail.
fn position(end: u64, inode: u64, tail: u64) -> u64 {
    let at = end.next_multiple_of(SLOT);
    let tail_at = at + inode;
    if tail_at % BLOCK + tail <= BLOCK { at } else { at.next_multiple_of(BLOCK) }
}

/// The blocks of a directory, and the size of any node's content.
fn content(node: &Node) -> (Vec<usize>, u64) {
    match &node.kind {
        Kind::Directory { entries, .. } => directory_blocks(names(entries.iter().map(|entry| &*entry.name))),
        Kind::File { bytes } => (Vec::new(), *bytes),
        Kind::Link { target } => (Vec::new(), target.len() as u64),
    }
}

/// Merges `.` and `..` into sorted names, where the format wants them.
pub(super) fn names<'a>(sorted: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    let mut names: Vec<&[u8]> = sorted.collect();
    for dots in [&b"."[..], b".."] {
        let at = names.partition_point(|name| *name < dots);
        names.insert(at, dots);
    }
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn inodes_lie_on_slots_behind_each_other_and_no_tail_crosses_a_block(
            sizes in proptest::collection::vec((any::<bool>(), 0..=TAIL_MAX), 1..200)
        ) {
            let mut end = SUPERBLOCK_AT + SUPERBLOCK_BYTES;
            for (extended, tail) in sizes {
                let inode = if extended { EXTENDED_BYTES } else { COMPACT_BYTES };
                let at = position(end, inode, tail);
                prop_assert!(at >= end && at.is_multiple_of(SLOT) && at - end < BLOCK);
                prop_assert!(tail == 0 || (at + inode) / BLOCK == (at + inode + tail - 1) / BLOCK);
                end = at + inode + tail;
            }
        }
    }

    #[test]
    fn dots_are_sorted_in() {
        let sorted = [&b"!"[..], b"-", b"..a", b"0"];
        assert_eq!(names(sorted.into_iter()).collect::<Vec<_>>(), [&b"!"[..], b"-", b".", b"..", b"..a", b"0"]);
    }
}
