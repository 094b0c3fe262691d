//! Reads an image as Linux does: walks directories, checks their order, and finds content by inode.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const BLOCK: usize = 4096;

/// What an image says of one path.
pub(super) struct Found {
    pub(super) mode: u16,
    pub(super) owner: (u32, u32),
    pub(super) time: (i64, u32),
    pub(super) links: u32,
    pub(super) number: u32,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// Number of entries without `.` and `..`.
    Directory(usize),
    File(Vec<u8>),
    Link(PathBuf),
}

/// Everything in an image, by path.
pub(super) fn read(image: &[u8]) -> BTreeMap<PathBuf, Found> {
    assert_eq!(number(image, 1024, 4), 0xe0f5_e1e2);
    assert_eq!((number(image, 1024 + 12, 1), number(image, 1024 + 80, 4)), (12, 0));
    assert_eq!(number(image, 1024 + 36, 4) * BLOCK as u64, image.len() as u64);
    let root = number(image, 1024 + 14, 2);
    let mut found = BTreeMap::new();
    let mut numbers = std::collections::BTreeSet::new();
    visit(image, Path::new(""), (root, root, 2), &mut found, &mut numbers);
    assert_eq!(number(image, 1024 + 16, 8), numbers.len() as u64);
    found
}

fn visit(
    image: &[u8],
    path: &Path,
    (inode, parent, file_type): (u64, u64, u8),
    found: &mut BTreeMap<PathBuf, Found>,
    numbers: &mut std::collections::BTreeSet<u64>,
) {
    numbers.insert(inode);
    let (mut this, content) = inode_at(image, usize::try_from(inode).unwrap() * 32);
    assert_eq!(
        file_type,
        match this.mode & 0o170_000 {
            0o040_000 => 2,
            0o100_000 => 1,
            _ => 7,
        }
    );
    if file_type == 2 {
        let entries = entries(&content);
        assert!(entries.is_sorted_by(|one, next| one.0 < next.0), "{path:?} is not sorted");
        assert!(entries.contains(&(b".".to_vec(), inode, 2)) && entries.contains(&(b"..".to_vec(), parent, 2)));
        this.content = Content::Directory(entries.len() - 2);
        for (name, child, file_type) in entries {
            if name != b"." && name != b".." {
                visit(image, &path.join(OsString::from_vec(name)), (child, inode, file_type), found, numbers);
            }
        }
    } else if file_type == 7 {
        this.content = Content::Link(OsString::from_vec(content).into());
    } else {
        this.content = Content::File(content);
    }
    assert!(found.insert(path.to_owned(), this).is_none());
}

fn inode_at(image: &[u8], at: usize) -> (Found, Vec<u8>) {
    let format = number(image, at, 2);
    let extended = format & 1 == 1;
    let word = |offset, bytes| u32::try_from(number(image, at + offset, bytes)).unwrap();
    let content = |bytes: u64, inode: usize| {
        let bytes = usize::try_from(bytes).unwrap();
        let tail = if format >> 1 == 2 { bytes % BLOCK } else { 0 };
        let (first, tail_at) = (word(16, 4) as usize * BLOCK, at + inode);
        assert!(tail == 0 || tail_at / BLOCK == (tail_at + tail - 1) / BLOCK, "a tail crosses a block");
        [&image[first..first + bytes - tail], &image[tail_at..tail_at + tail]].concat()
    };
    let mode = u16::try_from(word(4, 2)).unwrap();
    let (owner, time, links, content) = if extended {
        let time = (number(image, at + 32, 8).cast_signed(), word(40, 4));
        ((word(24, 4), word(28, 4)), time, word(44, 4), content(number(image, at + 8, 8), 64))
    } else {
        let time = (number(image, 1024 + 24, 8).cast_signed(), u32::try_from(number(image, 1024 + 32, 4)).unwrap());
        ((word(24, 2), word(26, 2)), time, word(6, 2), content(number(image, at + 8, 4), 32))
    };
    (Found { mode, owner, time, links, number: word(20, 4), content: Content::Directory(0) }, content)
}

/// Name, inode and type of each entry, block by block.
fn entries(content: &[u8]) -> Vec<(Vec<u8>, u64, u8)> {
    let mut entries = Vec::new();
    for block in content.chunks(BLOCK) {
        let count = usize::try_from(number(block, 8, 2)).unwrap() / 12;
        let name_at = |index: usize| usize::try_from(number(block, index * 12 + 8, 2)).unwrap();
        for index in 0..count {
            let end = if index + 1 < count { name_at(index + 1) } else { block.len() };
            let name = &block[name_at(index)..end];
            let name = name.split(|byte| *byte == 0).next().unwrap().to_vec();
            entries.push((name, number(block, index * 12, 8), block[index * 12 + 10]));
        }
    }
    entries
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}
