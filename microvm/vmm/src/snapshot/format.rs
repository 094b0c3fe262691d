//! The form that all files of a snapshot but the memory have: a fixed head, then a value in postcard.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0–7 | which file it is, as in [`Format::magic`] |
//! | 8–11 | [`VERSION`], little endian as all here |
//! | 12–15 | length of the value |
//! | 16–19 | CRC-32 of the value |
//! | 20–51 | [`BUILD`] of the program that wrote it, filled with zeros |
//! | 52– | the value |
//!
//! The process that wrote `state` may have been taken over by its guest, so the checksum speaks of damage and not of
//! trust: reading is bounded, and what was read is checked for whatever this process relies on. The rest is KVM's to
//! refuse.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use serde::{Serialize, de::DeserializeOwned};

use super::Refusal;

/// Version of a snapshot's files, all together.
pub const VERSION: u32 = 1;
/// The build whose snapshots are read: devices keep their state in a form of their own, which no version tells.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

const HEAD_BYTES: usize = 52;
const BUILD_AT: usize = 20;
const _: () = assert!(BUILD.len() <= HEAD_BYTES - BUILD_AT);

/// One of the files.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name in the snapshot's directory.
    pub name: &'static str,
    /// Its first bytes.
    pub magic: [u8; 8],
    /// Largest value, bytes.
    pub max_bytes: u32,
}

/// [`super::MachineState`]; six vCPUs of 10 KiB and six devices take a tenth of the bound.
pub const STATE: Format = Format { name: "state", magic: *b"HEARTHVM", max_bytes: 1 << 20 };
/// [`super::Checksums`] of the memory; a machine of 10 GiB of which every other page was written takes a third of it.
pub const CHECKSUMS: Format = Format { name: "checksums", magic: *b"HEARTHCK", max_bytes: 64 << 20 };
/// [`super::prefetch`]'s list.
pub const PREFETCH: Format = Format { name: "prefetch", magic: *b"HEARTHPF", max_bytes: 64 << 10 };

impl Format {
    /// Writes the whole file.
    pub(super) fn write<T: Serialize>(self, file: &mut File, value: &T) -> io::Result<()> {
        file.write_all(&self.encode(value)?)
    }

    /// The whole file as bytes.
    pub(super) fn encode<T: Serialize>(self, value: &T) -> io::Result<Vec<u8>> {
        let mut bytes = postcard::to_extend(value, vec![0; HEAD_BYTES]).map_err(io::Error::other)?;
        let (head, value) = bytes.split_at_mut(HEAD_BYTES);
        let length = u32::try_from(value.len()).ok().filter(|length| *length <= self.max_bytes);
        let too_large = || io::Error::other(format!("{} of the snapshot would exceed {} B", self.name, self.max_bytes));
        let length = length.ok_or_else(too_large)?;
        head[..8].copy_from_slice(&self.magic);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[12..16].copy_from_slice(&length.to_le_bytes());
        head[16..20].copy_from_slice(&crc32fast::hash(value).to_le_bytes());
        head[BUILD_AT..BUILD_AT + BUILD.len()].copy_from_slice(BUILD.as_bytes());
        Ok(bytes)
    }

    /// Reads the file from its beginning, whatever its position; others may read it at the same time.
    pub(super) fn read<T: DeserializeOwned>(self, file: &File) -> Result<T, Refusal> {
        let found = file.metadata().map_err(Refusal::io(self.name))?.len();
        let most = HEAD_BYTES as u64 + u64::from(self.max_bytes);
        if found > most {
            return Err(Refusal::Length { file: self.name, found, expected: most });
        }
        let mut bytes = vec![0; found as usize];
        file.read_exact_at(&mut bytes, 0).map_err(Refusal::io(self.name))?;
        self.decode(&bytes)
    }

    /// Reads the whole file from memory.
    pub(super) fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Refusal> {
        let file = self.name;
        let found = bytes.len() as u64;
        let Some((head, value)) = bytes.split_at_checked(HEAD_BYTES) else {
            return Err(Refusal::Length { file, found, expected: HEAD_BYTES as u64 });
        };
        if head[..8] != self.magic {
            return Err(Refusal::Foreign { file });
        }
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if word(8) != VERSION {
            return Err(Refusal::Version { found: word(8), expected: VERSION });
        }
        let build = head[BUILD_AT..].split(|byte| *byte == 0).next().unwrap_or_default();
        if build != BUILD.as_bytes() {
            return Err(Refusal::Build { found: String::from_utf8_lossy(build).escape_debug().to_string() });
        }
        let expected = HEAD_BYTES as u64 + u64::from(word(12));
        if found != expected {
            return Err(Refusal::Length { file, found, expected });
        }
        if crc32fast::hash(value) != word(16) {
            return Err(Refusal::damaged(file, "its checksum is another"));
        }
        match postcard::take_from_bytes(value) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(Refusal::damaged(file, "something follows its end")),
            Err(source) => Err(Refusal::damaged(file, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<u32>, Refusal> {
        PREFETCH.decode(bytes)
    }

    #[test]
    fn every_way_to_be_wrong_is_told_apart() {
        let good = PREFETCH.encode(&vec![7_u32, 8]).unwrap();
        assert_eq!(decoded(&good).unwrap(), [7, 8]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decoded(&bytes)
        };
        assert!(matches!(with(0, b'X'), Err(Refusal::Foreign { file: "prefetch" })));
        assert!(matches!(with(8, 2), Err(Refusal::Version { found: 2, expected: VERSION })));
        assert!(matches!(with(BUILD_AT, b'x'), Err(Refusal::Build { found }) if found.starts_with('x')));
        assert!(matches!(with(HEAD_BYTES, 3), Err(Refusal::Damaged { .. })));
        for cut in 0..good.len() {
            assert!(matches!(decoded(&good[..cut]), Err(Refusal::Length { .. })), "{cut}");
        }
        assert!(matches!(decoded(&[&good[..], &[0]].concat()), Err(Refusal::Length { .. })));
    }

    #[test]
    fn a_value_that_lies_about_its_own_length_is_refused() {
        // A vector of 2^35 elements, with a checksum that is right.
        let lie = PREFETCH.encode(&(u64::MAX >> 29, 1_u8)).unwrap();
        assert!(matches!(decoded(&lie), Err(Refusal::Damaged { .. })));
        let more = PREFETCH.encode(&(vec![1_u32], 1_u8)).unwrap();
        assert!(matches!(decoded(&more), Err(Refusal::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_there_is_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&bytes);
            let _ = STATE.decode::<crate::snapshot::MachineState>(&bytes);
        }
    }
}
