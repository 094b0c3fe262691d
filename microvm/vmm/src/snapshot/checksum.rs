//! Checksums of a snapshot's memory: of each part that holds data.
//!
//! Taken when the snapshot is finished, compared when a process first opens it and never on the way of a restore.
//! They take the place of flushing the memory to the disk: what a power failure leaves of it is refused.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use super::sparse;

/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// What the memory file held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksums {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    start: u64,
    bytes: u64,
    crc32: u32,
}

impl Checksums {
    /// Of what `memory` holds now. Moves its position.
    pub(super) fn of(memory: &File) -> io::Result<Self> {
        let sum = |part: Range<u64>| {
            let mut crc = crc32fast::Hasher::new();
            each_chunk(memory, part.clone(), |_, chunk| crc.update(chunk))?;
            Ok(Part { start: part.start, bytes: part.end - part.start, crc32: crc.finalize() })
        };
        Ok(Self { parts: sparse::data(memory)?.into_iter().map(sum).collect::<io::Result<_>>()? })
    }

    /// Whether `memory` holds this and nothing else; if not, where. Moves its position.
    pub(super) fn mismatch(&self, memory: &File) -> io::Result<Option<u64>> {
        let mut end = 0;
        for part in &self.parts {
            // Whoever wrote this list, it is in order and within 64 bits.
            let Some(part_end) = part.start.checked_add(part.bytes).filter(|_| part.start >= end) else {
                return Ok(Some(part.start));
            };
            end = part_end;
            let mut crc = crc32fast::Hasher::new();
            match each_chunk(memory, part.start..end, |_, chunk| crc.update(chunk)) {
                Ok(()) if crc.finalize() == part.crc32 => {}
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                // Other content, or a shorter file.
                _ => return Ok(Some(part.start)),
            }
        }
        self.stray_data(memory)
    }

    /// The first byte outside of all parts that is not zero. A copy of the file may have fewer holes than the
    /// original, so that there is data is not wrong by itself.
    fn stray_data(&self, memory: &File) -> io::Result<Option<u64>> {
        let mut stray = None;
        let mut parts = self.parts.iter().map(|part| part.start..part.start + part.bytes).peekable();
        for data in sparse::data(memory)? {
            let mut at = data.start;
            while at < data.end && stray.is_none() {
                while parts.next_if(|part| part.end <= at).is_some() {}
                let known = parts.peek().filter(|part| part.start < data.end);
                let gap_end = known.map_or(data.end, |part| part.start);
                if gap_end > at {
                    each_chunk(memory, at..gap_end, |start, chunk| {
                        let found = chunk.iter().position(|byte| *byte != 0);
                        stray = stray.or(found.map(|offset| start + offset as u64));
                    })?;
                }
                at = known.map_or(data.end, |part| part.end);
            }
        }
        Ok(stray)
    }
}

/// Reads a part of a file piece by piece.
fn each_chunk(file: &File, part: Range<u64>, mut take: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(part.end - part.start).unwrap_or(CHUNK_BYTES))];
    let mut at = part.start;
    while at < part.end {
        let wanted = buffer.len().min(usize::try_from(part.end - at).unwrap_or(usize::MAX));
        let chunk = &mut buffer[..wanted];
        file.read_exact_at(chunk, at)?;
        take(at, chunk);
        at += wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(&[1; 8192], 1 << 20).unwrap();
        file.write_all_at(&[2; 4096], 4 << 20).unwrap();
        file
    }

    #[test]
    fn what_was_written_is_found_again() {
        let memory = memory();
        let sums = Checksums::of(&memory).unwrap();
        assert_eq!(sums.parts.len(), 2);
        assert_eq!(sums.mismatch(&memory).unwrap(), None);
        // A hole that became zeros is the same memory.
        memory.write_all_at(&[0; 4096], 2 << 20).unwrap();
        memory.write_all_at(&[0; 4096], (1 << 20) + 8192).unwrap();
        assert_eq!(sums.mismatch(&memory).unwrap(), None);
    }

    #[test]
    fn one_changed_byte_is_found_wherever_it_is() {
        for (at, found) in [(1 << 20, 1 << 20), ((1 << 20) + 8191, 1 << 20), ((2 << 20) + 5, (2 << 20) + 5), (0, 0)] {
            let memory = memory();
            let sums = Checksums::of(&memory).unwrap();
            memory.write_all_at(&[9], at).unwrap();
            assert_eq!(sums.mismatch(&memory).unwrap(), Some(found), "{at:#x}");
        }
    }

    #[test]
    fn a_shorter_file_and_an_impossible_list_are_mismatches() {
        let memory = memory();
        let sums = Checksums::of(&memory).unwrap();
        memory.set_len(4 << 20).unwrap();
        assert_eq!(sums.mismatch(&memory).unwrap(), Some(4 << 20));
        let part = Part { start: 4096, bytes: u64::MAX, crc32: 0 };
        assert_eq!(Checksums { parts: vec![part] }.mismatch(&memory).unwrap(), Some(4096));
    }
}
