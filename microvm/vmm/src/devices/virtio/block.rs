//! A read-only drive on a file of the host (virtio 1.2, section 5.2).
//!
//! Reads go from the page cache straight into guest memory, on the event loop's thread. The images are shared by every
//! microVM of a host, so they are in the page cache nearly always; where one is not, the read waits for the disk, and
//! the other devices of *this* machine wait with it, one request at a time ([`REQUESTS_PER_WAKE`] and
//! [`BYTES_PER_WAKE`] bound how much is done before they get their turn). Other machines are other processes.
//!
//! A drive without an image has no sectors. [`Block::attach`] gives it one and tells the driver, once. So does a restore
//! with an image, of a machine that had none.
//!
//! Absent on purpose: writes, discards, flushes and multiple queues.

mod request;

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;

use virtio_queue::Queue;

use self::request::{Request, Status};
use super::chain::Chain;
use super::pace::Pace;
use super::service::{Answer, serve};
use super::transport::{F_EVENT_INDEX, F_INDIRECT};
use super::{Activation, Source, VirtioDevice};
use crate::control::RateLimit;

/// Bytes of a sector, the unit of addresses and of a drive's size.
pub const SECTOR_BYTES: u64 = 512;
/// Requests handled before other devices get their turn.
pub const REQUESTS_PER_WAKE: usize = 32;
/// Bytes read before other devices get their turn; the request that reaches it is still done.
pub const BYTES_PER_WAKE: u64 = 2 << 20;
/// Pieces of data of one request, as the driver is told; with header and status well below
/// [`super::chain::CHAIN_MAX`].
const SEGMENTS_MAX: u32 = 62;
/// Bytes of one piece, as the driver is told.
const SEGMENT_BYTES_MAX: u32 = 32 << 10;
/// Data of one request; more is refused.
const REQUEST_BYTES_MAX: u64 = SEGMENTS_MAX as u64 * SEGMENT_BYTES_MAX as u64;
const _: () = assert!(REQUEST_BYTES_MAX < BYTES_PER_WAKE);

const DEVICE_TYPE: u32 = 2;
const F_SIZE_MAX: u64 = 1 << 1;
const F_SEG_MAX: u64 = 1 << 2;
const F_READ_ONLY: u64 = 1 << 5;

/// A drive.
pub struct Block {
    name: DriveName,
    image: Option<Image>,
    pace: Pace,
    activation: Option<Activation>,
    /// The size is not what the driver last knew, and there was no way yet to say so.
    owes_word: bool,
    bytes_read: u64,
}

/// What `GET_ID` answers, zero-padded: `/sys/block/vdX/serial` of the guest.
pub type DriveName = [u8; 20];

#[derive(Debug)]
struct Image {
    file: File,
    bytes: u64,
}

impl Image {
    fn new(mut file: File) -> io::Result<Self> {
        // Not the size in its metadata, which is 0 for a block device of the host.
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, bytes })
    }
}

/// An image could not be attached; the drive is as before.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A drive takes one image in its life.
    #[error("the drive has an image already: boot or restore another machine for this one")]
    NotEmpty,
    /// It has no size.
    #[error("the image can't be used")]
    Image(#[from] io::Error),
}

impl Block {
    /// A drive named `name` with `image`, or an empty one; limits on bytes and requests each second.
    ///
    /// # Errors
    ///
    /// The image has no size, or the process has no descriptor left.
    pub fn new(
        name: DriveName,
        image: Option<File>,
        bandwidth: Option<RateLimit>,
        requests: Option<RateLimit>,
    ) -> io::Result<Self> {
        Ok(Self {
            name,
            image: image.map(Image::new).transpose()?,
            pace: Pace::new(bandwidth, requests)?,
            activation: None,
            owes_word: false,
            bytes_read: 0,
        })
    }

    /// Gives the empty drive its image; the driver, now or when it is there, is told to look at the size again.
    ///
    /// # Errors
    ///
    /// The drive is not empty, or the image has no size.
    pub fn attach(&mut self, image: File) -> Result<(), AttachError> {
        if self.image.is_some() {
            return Err(AttachError::NotEmpty);
        }
        self.image = Some(Image::new(image)?);
        match &self.activation {
            Some(activation) => activation.interrupt.configuration_changed(),
            None => self.owes_word = true,
        }
        Ok(())
    }

    /// Bytes that the guest read from it.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    fn sectors(&self) -> u64 {
        self.image.as_ref().map_or(0, |image| image.bytes.div_ceil(SECTOR_BYTES))
    }

    fn work(&mut self) {
        let Some(activation) = &mut self.activation else { return };
        let mut left = BYTES_PER_WAKE;
        let handle = |chain: Chain<'_>| {
            if left == 0 {
                return Answer::Later;
            }
            let request = match Request::parse(chain) {
                Ok(request) => request,
                Err(answer) => return answer,
            };
            let bytes = request.data_bytes();
            if !self.pace.admit(bytes) {
                return Answer::Later;
            }
            left = left.saturating_sub(bytes);
            let image = self.image.as_ref().map(|image| (&image.file, image.bytes));
            let (status, written) = request.execute(image, &self.name);
            if status == Status::Ok {
                self.bytes_read += u64::from(written);
            }
            request.finish(status, written)
        };
        let served =
            serve(&mut activation.queues[0], &activation.memory, &activation.interrupt, REQUESTS_PER_WAKE, handle);
        self.pace.after_serving(served);
    }
}

impl VirtioDevice for Block {
    fn device_type(&self) -> u32 {
        DEVICE_TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[128]
    }

    fn features(&self) -> u64 {
        F_READ_ONLY | F_SIZE_MAX | F_SEG_MAX | F_INDIRECT | F_EVENT_INDEX
    }

    /// `struct virtio_blk_config` (5.2.4) as far as the features go: capacity, size_max, seg_max.
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut space = [0; 16];
        space[..8].copy_from_slice(&self.sectors().to_le_bytes());
        space[8..12].copy_from_slice(&SEGMENT_BYTES_MAX.to_le_bytes());
        space[12..].copy_from_slice(&SEGMENTS_MAX.to_le_bytes());
        super::read_space(&space, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        if std::mem::take(&mut self.owes_word) {
            activation.interrupt.configuration_changed();
        }
        self.activation = Some(activation);
        Ok(())
    }

    fn reset(&mut self) {
        self.activation = None;
    }

    fn on_notify(&mut self, _queue: usize) {
        self.work();
    }

    fn sources(&self) -> Vec<Source<'_>> {
        vec![Source { fd: self.pace.as_fd(), readable: true, writable: false }]
    }

    fn on_ready(&mut self, _source: usize) {
        self.pace.clear();
        self.work();
    }

    fn queues(&self) -> &[Queue] {
        self.activation.as_ref().map_or(&[], |activation| &activation.queues)
    }

    /// The size that the driver knows.
    fn save(&self) -> Vec<u8> {
        self.sectors().to_le_bytes().to_vec()
    }

    /// A restored machine may have an image where the other had none yet: then its driver is told.
    fn restore(&mut self, saved: &[u8]) -> io::Result<()> {
        let sectors = saved.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a size has 8 bytes"))?;
        self.owes_word = u64::from_le_bytes(sectors) != self.sectors();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
