//! Zips byte by byte, so that they can be wrong in every way.

use std::io::Write;

/// One entry.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) name: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) flags: u16,
    pub(crate) deflated: bool,
    /// Written instead of the real method.
    pub(crate) method: Option<u16>,
    /// Written instead of the real size.
    pub(crate) size: Option<u32>,
    /// Refers to the data of the entry before instead of having its own.
    pub(crate) shares: bool,
    /// Sizes and checksum follow the data, as a writer has it that can't go back.
    pub(crate) streamed: bool,
}

pub(crate) fn file(name: &str, content: &[u8]) -> Piece {
    Piece {
        name: name.into(),
        content: content.into(),
        mode: 0o100_644,
        flags: 0,
        deflated: true,
        method: None,
        size: None,
        shares: false,
        streamed: false,
    }
}

pub(crate) fn with_mode(name: &str, content: &[u8], mode: u32) -> Piece {
    Piece { mode, ..file(name, content) }
}

pub(crate) fn symlink(name: &str, target: &str) -> Piece {
    with_mode(name, target.as_bytes(), 0o120_777)
}

pub(crate) fn zip(pieces: &[Piece]) -> Vec<u8> {
    let (mut zip, mut directory, mut offset) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        let compressed = if piece.deflated { deflate(&piece.content) } else { piece.content.clone() };
        let mut common = Vec::new();
        common.extend((piece.flags | if piece.streamed { 8 } else { 0 }).to_le_bytes());
        common.extend(piece.method.unwrap_or(if piece.deflated { 8 } else { 0 }).to_le_bytes());
        common.extend([0; 4]);
        let mut sizes = crc(&piece.content).to_le_bytes().to_vec();
        sizes.extend((compressed.len() as u32).to_le_bytes());
        sizes.extend(piece.size.unwrap_or(piece.content.len() as u32).to_le_bytes());
        let local = common.len()..common.len() + sizes.len();
        common.extend(&sizes);
        common.extend((piece.name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        if !piece.shares {
            offset = zip.len() as u32;
            zip.extend(b"PK\x03\x04\x14\0");
            let header = zip.len();
            zip.extend(&common);
            zip.extend(&piece.name);
            zip.extend(&compressed);
            if piece.streamed {
                zip[header..][local].fill(0);
                zip.extend(b"PK\x07\x08");
                zip.extend(&sizes);
            }
        }
        directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((piece.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&piece.name);
    }
    let start = zip.len() as u32;
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend((pieces.len() as u16).to_le_bytes());
    zip.extend((pieces.len() as u16).to_le_bytes());
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn crc(content: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum()
}
