//! The zip format itself: end record, central directory, local headers (PKWARE APPNOTE.TXT, 4.3 and 4.5.3).
//!
//! ```text
//! local header, data │ … │ central directory │ [zip64 end, its locator] │ end
//! ```
//!
//! What the central directory says of an entry must agree with its local header, entries must not overlap, and the end
//! record must be the end of the file.

use std::ops::Range;

use hearth_domain::limits::BUNDLE_MAX_ENTRIES;

use crate::unzip::{BundleError, shown};

const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;
const END64_SIGNATURE: u32 = 0x0606_4b50;
const END64_LOCATOR_SIGNATURE: u32 = 0x0706_4b50;
const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END64_BYTES: usize = 56;
const END64_LOCATOR_BYTES: usize = 20;
const COMMENT_MAX_BYTES: usize = 0xffff;
const ZIP64_EXTRA: u16 = 1;
/// Flag bits 0, 6 and 13: encrypted, strongly encrypted, headers masked.
const ENCRYPTION_FLAGS: u16 = 1 | 1 << 6 | 1 << 13;

/// One entry, as the central directory has it.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) method: Method,
    /// Unix mode with file type, if the zip carries one.
    pub(super) mode: Option<u32>,
    pub(super) crc: u32,
    /// Size of the content as the directory has it.
    pub(super) size: u64,
    /// Where the compressed content is.
    pub(super) data: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// Where the central directory is.
struct End {
    entries: u64,
    offset: u64,
    bytes: u64,
}

/// Reads little-endian numbers; `None` past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn at(zip: &'a [u8], offset: usize) -> Option<Self> {
        zip.get(offset..).map(Self)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<u64> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.bytes(N)?);
        Some(u64::from_le_bytes(wide))
    }

    fn u16(&mut self) -> Option<u16> {
        self.number::<2>().map(|number| number as u16)
    }

    fn u32(&mut self) -> Option<u32> {
        self.number::<4>().map(|number| number as u32)
    }
}

/// Every entry, in the order of the central directory.
pub(super) fn entries(zip: &[u8]) -> Result<Vec<Entry<'_>>, BundleError> {
    let end = find_end(zip)?;
    if end.entries > BUNDLE_MAX_ENTRIES as u64 {
        return Err(BundleError::TooManyEntries);
    }
    let truncated = BundleError::NotAZip("its central directory is cut short");
    let range = end.offset.checked_add(end.bytes).map(|after| end.offset as usize..after as usize);
    let mut directory = Reader(range.and_then(|range| zip.get(range)).ok_or(truncated.clone())?);
    let mut entries = Vec::new();
    for _ in 0..end.entries {
        entries.push(central_entry(zip, end.offset, &mut directory).ok_or(truncated.clone())??);
    }
    if !directory.0.is_empty() {
        return Err(BundleError::NotAZip("its central directory has more than the entries it counts"));
    }
    refuse_overlap(&entries)?;
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

fn find_end(zip: &[u8]) -> Result<End, BundleError> {
    let last = zip.len().checked_sub(END_BYTES).ok_or(BundleError::NotAZip("it is too short"))?;
    let first = last.saturating_sub(COMMENT_MAX_BYTES);
    for offset in (first..=last).rev() {
        if !zip[offset..].starts_with(&END_SIGNATURE.to_le_bytes()) {
            continue;
        }
        if let Some(end) = end_at(zip, offset) {
            return end;
        }
    }
    Err(BundleError::NotAZip("its end is missing; was the upload cut short?"))
}

/// The end record at `offset`; `None` if what stands there is not one.
fn end_at(zip: &[u8], offset: usize) -> Option<Result<End, BundleError>> {
    let mut record = Reader::at(zip, offset + 4)?;
    let (disk, directory_disk, disk_entries, entries) = (record.u16()?, record.u16()?, record.u16()?, record.u16()?);
    let (bytes, directory, comment) = (record.u32()?, record.u32()?, record.u16()?);
    if record.0.len() != usize::from(comment) {
        return None;
    }
    let is_zip64 = entries == u16::MAX || bytes == u32::MAX || directory == u32::MAX;
    let (end, end_of_directory) = match end64(zip, offset) {
        Some(found) if is_zip64 => found,
        _ if disk != 0 || directory_disk != 0 || disk_entries != entries => {
            return Some(Err(BundleError::NotAZip("it is one part of several")));
        }
        other => {
            let end = End { entries: entries.into(), offset: directory.into(), bytes: bytes.into() };
            // A zip64 record that is not needed may stand there all the same.
            (end, other.map_or(offset, |(_, offset)| offset))
        }
    };
    if end.offset.checked_add(end.bytes) != Some(end_of_directory as u64) {
        return Some(Err(BundleError::NotAZip("its central directory is not where its end says")));
    }
    Some(Ok(end))
}

/// The zip64 end record before the end record at `end`, and where it begins.
fn end64(zip: &[u8], end: usize) -> Option<(End, usize)> {
    let mut locator = Reader::at(zip, end.checked_sub(END64_LOCATOR_BYTES)?)?;
    let (signature, disk, offset, disks) = (locator.u32()?, locator.u32()?, locator.number::<8>()?, locator.u32()?);
    if signature != END64_LOCATOR_SIGNATURE || disk != 0 || disks > 1 {
        return None;
    }
    let offset = usize::try_from(offset).ok()?;
    let mut record = Reader::at(zip, offset)?;
    if record.u32()? != END64_SIGNATURE || offset.checked_add(END64_BYTES + END64_LOCATOR_BYTES)? > end {
        return None;
    }
    let _size_versions_disks = record.bytes(8 + 2 + 2 + 4 + 4)?;
    let (disk_entries, entries) = (record.number::<8>()?, record.number::<8>()?);
    let (bytes, directory) = (record.number::<8>()?, record.number::<8>()?);
    (disk_entries == entries).then_some((End { entries, offset: directory, bytes }, offset))
}

/// The next entry of the central directory with the offset of its local header; `None` if it is cut short.
fn central_entry<'a>(
    zip: &'a [u8],
    directory: u64,
    reader: &mut Reader<'a>,
) -> Option<Result<(usize, Entry<'a>), BundleError>> {
    let mut header = Reader(reader.bytes(CENTRAL_BYTES)?);
    if header.u32()? != CENTRAL_SIGNATURE {
        return None;
    }
    let _versions = header.bytes(4)?;
    let (flags, method, _time) = (header.u16()?, header.u16()?, header.u32()?);
    let (crc, compressed, size) = (header.u32()?, header.u32()?, header.u32()?);
    let (name, extra, comment) = (header.u16()?, header.u16()?, header.u16()?);
    let (_disk, _internal, external, offset) = (header.u16()?, header.u16()?, header.u32()?, header.u32()?);
    let name = reader.bytes(name.into())?;
    let extra = reader.bytes(extra.into())?;
    let _comment = reader.bytes(comment.into())?;

    let mut wide = Reader(zip64_extra(extra));
    let mut widen = |narrow: u32| if narrow == u32::MAX { wide.number::<8>() } else { Some(narrow.into()) };
    let (size, compressed, offset) = (widen(size)?, widen(compressed)?, widen(offset)?);

    Some((|| {
        let method = supported(name, flags, method)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let data = data(zip, offset, name, compressed, directory)?;
        let mode = Some(external >> 16).filter(|mode| *mode != 0);
        Ok((offset, Entry { name, method, mode, crc, size, data }))
    })())
}

fn supported(name: &[u8], flags: u16, method: u16) -> Result<Method, BundleError> {
    if flags & ENCRYPTION_FLAGS != 0 {
        return Err(BundleError::Encrypted(shown(name)));
    }
    match method {
        0 => Ok(Method::Stored),
        8 => Ok(Method::Deflated),
        method => Err(BundleError::UnsupportedCompression { name: shown(name), method }),
    }
}

/// The content's place, after the local header, which must be of the same entry.
fn data(zip: &[u8], offset: usize, name: &[u8], compressed: u64, directory: u64) -> Result<Range<usize>, BundleError> {
    let damaged = |reason: &str| BundleError::Damaged { name: shown(name), reason: reason.into() };
    let parsed = || {
        let mut header = Reader::at(zip, offset)?;
        let signature = header.u32()?;
        let _version_to_sizes = header.bytes(LOCAL_BYTES - 4 - 4)?;
        let (name_bytes, extra_bytes) = (header.u16()?, header.u16()?);
        let local_name = header.bytes(name_bytes.into())?;
        let start = offset + LOCAL_BYTES + local_name.len() + usize::from(extra_bytes);
        (signature == LOCAL_SIGNATURE).then_some((local_name, start))
    };
    let (local_name, start) = parsed().ok_or_else(|| damaged("its header is not where the directory says"))?;
    if local_name != name {
        return Err(damaged("its header has another name than the directory"));
    }
    let end = (start as u64).checked_add(compressed).filter(|end| *end <= directory);
    let end = end.ok_or_else(|| damaged("its content is cut short"))?;
    Ok(start..end as usize)
}

/// The zip64 field among the extra fields, empty if there is none.
fn zip64_extra(extra: &[u8]) -> &[u8] {
    let mut fields = Reader(extra);
    while let (Some(id), Some(bytes)) = (fields.u16(), fields.u16()) {
        let Some(field) = fields.bytes(bytes.into()) else { break };
        if id == ZIP64_EXTRA {
            return field;
        }
    }
    &[]
}

fn refuse_overlap(entries: &[(usize, Entry<'_>)]) -> Result<(), BundleError> {
    let mut by_offset: Vec<_> = entries.iter().collect();
    by_offset.sort_by_key(|(offset, _)| *offset);
    for pair in by_offset.windows(2) {
        let ((_, before), (offset, after)) = (pair[0], pair[1]);
        if *offset < before.data.end {
            return Err(BundleError::Overlapping(shown(after.name)));
        }
    }
    Ok(())
}
