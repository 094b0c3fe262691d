//! The structures of EROFS as bytes, little-endian (Linux, `Documentation/filesystems/erofs.rst`; field by field in
//! `fs/erofs/erofs_fs.h`). Pure: nothing here knows files.

use super::tree::Time;

/// Block size, bytes: what Linux 6.1 on x86-64 can mount.
pub(super) const BLOCK: u64 = 4096;
/// Where the superblock is; what is before it belongs to boot loaders.
pub(super) const SUPERBLOCK_AT: u64 = 1024;
/// Size of the superblock.
pub(super) const SUPERBLOCK_BYTES: u64 = 128;
/// Inodes are counted in steps of this; the number of an inode is its position in the image in such steps.
pub(super) const SLOT: u64 = 32;
/// An inode without time and with 32 bits of size.
pub(super) const COMPACT_BYTES: u64 = 32;
/// An inode with everything.
pub(super) const EXTENDED_BYTES: u64 = 64;
/// Fixed part of a directory entry; its name lies at the end of the block.
pub(super) const DIRENT_BYTES: u64 = 12;

const MAGIC: u32 = 0xe0f5_e1e2;
/// Times are those of the last change of content.
const FEATURE_COMPAT_MTIME: u32 = 2;

/// Facts of the whole image.
pub(super) struct Superblock {
    pub(super) root: u16,
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) time: Time,
}

impl Superblock {
    /// Its 128 bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        put(&mut bytes, &MAGIC.to_le_bytes());
        put(&mut bytes, &0_u32.to_le_bytes()); // checksum: there only with its feature
        put(&mut bytes, &FEATURE_COMPAT_MTIME.to_le_bytes());
        put(&mut bytes, &[BLOCK.trailing_zeros() as u8, 0]);
        put(&mut bytes, &self.root.to_le_bytes());
        put(&mut bytes, &self.inodes.to_le_bytes());
        put(&mut bytes, &self.time.0.to_le_bytes());
        put(&mut bytes, &self.time.1.to_le_bytes());
        put(&mut bytes, &self.blocks.to_le_bytes());
        // Inodes are counted from the start of the image; no shared attributes, no identity, no name, nothing that an
        // old kernel would not understand.
        bytes.resize(128, 0);
        bytes
    }
}

/// Where an inode's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// In whole blocks from this one on.
    Blocks(u32),
    /// As [`Self::Blocks`], but for what does not fill a block: that follows the inode.
    Inline(u32),
}

/// One inode.
pub(super) struct Inode {
    pub(super) extended: bool,
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) bytes: u64,
    pub(super) data: Data,
    /// What `stat` says where it has but 32 bits for it.
    pub(super) number: u32,
    pub(super) owner: (u32, u32),
    pub(super) time: Time,
}

impl Inode {
    /// Its 32 or 64 bytes. A compact one is cut to what it can tell: [`Self::is_compact`] says whether that is all.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        let (layout, block) = match self.data {
            Data::Blocks(block) => (0_u16, block),
            Data::Inline(block) => (2, block),
        };
        put(&mut bytes, &(u16::from(self.extended) | layout << 1).to_le_bytes());
        put(&mut bytes, &0_u16.to_le_bytes()); // no extended attributes
        put(&mut bytes, &self.mode.to_le_bytes());
        let owner = (self.owner.0.to_le_bytes(), self.owner.1.to_le_bytes());
        if self.extended {
            put(&mut bytes, &0_u16.to_le_bytes());
            put(&mut bytes, &self.bytes.to_le_bytes());
            put(&mut bytes, &block.to_le_bytes());
            put(&mut bytes, &self.number.to_le_bytes());
            put(&mut bytes, &owner.0);
            put(&mut bytes, &owner.1);
            put(&mut bytes, &self.time.0.to_le_bytes());
            put(&mut bytes, &self.time.1.to_le_bytes());
            put(&mut bytes, &self.links.to_le_bytes());
        } else {
            put(&mut bytes, &self.links.to_le_bytes()[..2]);
            put(&mut bytes, &self.bytes.to_le_bytes()[..4]);
            put(&mut bytes, &0_u32.to_le_bytes());
            put(&mut bytes, &block.to_le_bytes());
            put(&mut bytes, &self.number.to_le_bytes());
            put(&mut bytes, &owner.0[..2]);
            put(&mut bytes, &owner.1[..2]);
        }
        bytes.resize(usize::from(self.extended) * 32 + 32, 0);
        bytes
    }

    /// Whether the small form says it all.
    pub(super) fn is_compact(bytes: u64, links: u32, owner: (u32, u32), time: Time, base: Time) -> bool {
        let small = |number: u32| u16::try_from(number).is_ok();
        u32::try_from(bytes).is_ok() && small(links) && small(owner.0) && small(owner.1) && time == base
    }
}

/// Type of a directory entry, from the type bits of the mode.
pub(super) fn file_type(mode: u16) -> u8 {
    match mode & 0o170_000 {
        0o040_000 => 2,
        0o120_000 => 7,
        _ => 1,
    }
}

/// How names share blocks: the count of each block, and the bytes of them all, of which only the last block's end is
/// not padded. Every block has its names to itself.
pub(super) fn directory_blocks<'a>(names: impl Iterator<Item = &'a [u8]>) -> (Vec<usize>, u64) {
    let (mut counts, mut used) = (Vec::new(), BLOCK + 1);
    for name in names {
        let bytes = DIRENT_BYTES + name.len() as u64;
        match counts.last_mut() {
            Some(count) if used + bytes <= BLOCK => {
                *count += 1;
                used += bytes;
            }
            _ => {
                counts.push(1);
                used = bytes;
            }
        }
    }
    let bytes = (counts.len() as u64).saturating_sub(1) * BLOCK + used;
    (counts, bytes)
}

/// One block of a directory, not padded: the entries (name, inode, type), then their names.
pub(super) fn directory_block(entries: &[(&[u8], u64, u8)]) -> Vec<u8> {
    let mut block = Vec::with_capacity(4096);
    let mut name_at = entries.len() as u64 * DIRENT_BYTES;
    for (name, inode, file_type) in entries {
        put(&mut block, &inode.to_le_bytes());
        put(&mut block, &name_at.to_le_bytes()[..2]);
        put(&mut block, &[*file_type, 0]);
        name_at += name.len() as u64;
    }
    entries.iter().for_each(|(name, ..)| put(&mut block, name));
    block
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(field);
}
