//! The content of an entry: inflated, counted, compared with what the directory says.

use std::io::{self, Read, Write};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use crate::unzip::directory::{Entry, Method};
use crate::unzip::{BundleError, shown};

const BUFFER_BYTES: usize = 64 * 1024;

/// Why content was not copied.
pub(super) enum CopyError {
    /// It is not what it should be.
    Content(BundleError),
    /// It could not be written.
    Sink(io::Error),
}

/// Reads an entry through.
pub(super) fn verify(zip: &[u8], entry: &Entry<'_>) -> Result<(), BundleError> {
    match copy(zip, entry, &mut io::sink()) {
        Ok(()) => Ok(()),
        Err(CopyError::Content(error)) => Err(error),
        Err(CopyError::Sink(_)) => unreachable!("a sink takes everything"),
    }
}

/// Writes an entry's content to `sink`, never more than the directory says it has.
pub(super) fn copy(zip: &[u8], entry: &Entry<'_>, sink: &mut impl Write) -> Result<(), CopyError> {
    let data = &zip[entry.data.clone()];
    match entry.method {
        Method::Stored => copy_counted(entry, data, sink),
        Method::Deflated => {
            let mut decoder = DeflateDecoder::new(data);
            copy_counted(entry, &mut decoder, sink)?;
            if decoder.total_in() != data.len() as u64 {
                return Err(CopyError::Content(damaged(entry, "something follows its compressed content")));
            }
            Ok(())
        }
    }
}

fn copy_counted(entry: &Entry<'_>, mut source: impl Read, sink: &mut impl Write) -> Result<(), CopyError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut left, mut crc) = (entry.size, Crc::new());
    loop {
        let count = source
            .read(&mut buffer)
            .map_err(|error| CopyError::Content(damaged(entry, &format!("it can't be inflated: {error}"))))?;
        if count == 0 {
            break;
        }
        let Some(rest) = left.checked_sub(count as u64) else {
            return Err(CopyError::Content(damaged(entry, "it is larger than its header says")));
        };
        left = rest;
        crc.update(&buffer[..count]);
        sink.write_all(&buffer[..count]).map_err(CopyError::Sink)?;
    }
    if left != 0 {
        return Err(CopyError::Content(damaged(entry, "it is smaller than its header says")));
    }
    if crc.sum() != entry.crc {
        return Err(CopyError::Content(damaged(entry, "its checksum is wrong")));
    }
    Ok(())
}

fn damaged(entry: &Entry<'_>, reason: &str) -> BundleError {
    BundleError::Damaged { name: shown(entry.name), reason: reason.into() }
}
