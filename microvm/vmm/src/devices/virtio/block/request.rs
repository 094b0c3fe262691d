//! One request of a drive: a header to read, data, and a byte of status at the end (virtio 1.2, section 5.2.6). How these
//! are spread over descriptors is the driver's choice (2.7.4.1).

use std::fs::File;

use super::{REQUEST_BYTES_MAX, SECTOR_BYTES};
use crate::devices::virtio::chain::{Buffers, Chain};
use crate::devices::virtio::service::Answer;
use crate::sys::guest_memory::read_at;

const HEADER_BYTES: usize = 16;
const READ: u32 = 0;
const WRITE: u32 = 1;
const GET_ID: u32 = 8;

/// The last byte of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok = 0,
    /// It can't be done: beyond the end, no whole sectors, a write, or the host's disk failed.
    IoError = 1,
    /// The drive does not do that.
    Unsupported = 2,
}

/// What to do, with where.
#[derive(Debug)]
pub(super) struct Request<'m> {
    kind: u32,
    sector: u64,
    data: Buffers<'m>,
    status: Buffers<'m>,
}

impl<'m> Request<'m> {
    /// Takes a chain apart. `Err` is the answer to one that has no header or no room for a status.
    pub(super) fn parse(chain: Chain<'m>) -> Result<Self, Answer> {
        let mut header = [0; HEADER_BYTES];
        let Chain { mut readable, writable: mut data } = chain;
        let is_short = readable.take(HEADER_BYTES).copy_to(&mut header) < HEADER_BYTES;
        let Some(data_bytes) = data.bytes().checked_sub(1).filter(|_| !is_short) else {
            return Err(Answer::Used(0));
        };
        let (kind, sector) = header.split_at(8);
        let front = data.take(data_bytes);
        Ok(Self {
            kind: u32::from_le_bytes([kind[0], kind[1], kind[2], kind[3]]),
            sector: u64::from_le_bytes(sector.try_into().unwrap_or_default()),
            data: front,
            status: data,
        })
    }

    /// What it costs.
    pub(super) fn data_bytes(&self) -> u64 {
        self.data.bytes() as u64
    }

    /// Does it; says with what result and how much data was written. `image` is the file and its size.
    pub(super) fn execute(&self, image: Option<(&File, u64)>, name: &[u8]) -> (Status, u32) {
        match self.kind {
            READ => match image.and_then(|(file, bytes)| self.read(file, bytes)) {
                Some(written) => (Status::Ok, written),
                None => (Status::IoError, 0),
            },
            WRITE => (Status::IoError, 0),
            GET_ID => (Status::Ok, self.data.copy_from(name) as u32),
            _ => (Status::Unsupported, 0),
        }
    }

    /// Writes the status. The bytes that are used end with it, unless there was no data for it to follow.
    pub(super) fn finish(&self, status: Status, written: u32) -> Answer {
        self.status.copy_from(&[status as u8]);
        let data_is_full = u64::from(written) == self.data_bytes();
        Answer::Used(if data_is_full { written.saturating_add(1) } else { written })
    }

    /// Reads sectors; `None` where that is impossible. A last sector that the file only begins is filled with zeros.
    fn read(&self, file: &File, bytes: u64) -> Option<u32> {
        let length = self.data_bytes();
        let start = self.sector.checked_mul(SECTOR_BYTES)?;
        let end = start.checked_add(length)?;
        let sectors = bytes.div_ceil(SECTOR_BYTES);
        if !length.is_multiple_of(SECTOR_BYTES) || length > REQUEST_BYTES_MAX || end.div_ceil(SECTOR_BYTES) > sectors {
            return None;
        }
        let (mut at, mut rest) = (start, self.data.clone());
        let file_end = end.min(bytes);
        while at < file_end {
            // A file that became shorter than it was has no more to give.
            let read = read_at(file, rest.slices(), at).ok().filter(|read| *read > 0)?;
            rest.take(read);
            at += read as u64;
        }
        // Less than a sector, by the check above.
        rest.copy_from(&[0; SECTOR_BYTES as usize]);
        length.try_into().ok()
    }
}
