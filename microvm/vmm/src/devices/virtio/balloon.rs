//! Memory that the guest gives back (virtio 1.2, section 5.5): the pages it hands to the balloon, because it was asked to
//! by [`Balloon::set_target`], and those it reports as free by itself.
//!
//! Both ways the page goes back to the host at once; when the guest touches it again, it is a page of the file that
//! guest memory maps (or zero, where that is written to directly). A guest that wants its free pages to keep what is in
//! them, because it poisons them, does not report: that is the driver's rule, as `VIRTIO_BALLOON_F_PAGE_POISON` is not
//! offered.
//!
//! Absent on purpose: statistics, and hints for live migration.
//!
//! The queues for these stay unused, but there: by the specification the reporting queue is number 4 whether or not
//! they are; Linux before 6.11 counts only the queues it uses, and takes number 2.

use std::io;
use std::os::fd::AsFd as _;

use virtio_queue::Queue;
use vm_memory::{GuestAddress, GuestMemoryBackend as _};

use super::alarm::Alarm;
use super::chain::Chain;
use super::service::{Answer, Served, serve};
use super::transport::{F_EVENT_INDEX, F_INDIRECT};
use super::{Activation, Source, VirtioDevice};
use crate::memory::{GuestMemory, Mapping, mapping};
use crate::sys::guest_memory::discard;

/// Chains handled of one queue before other devices get their turn. A chain of the inflate queue has 256 pages with
/// Linux, one of reported pages up to 32 blocks of 2 MiB or more.
pub const CHAINS_PER_WAKE: usize = 8;
/// Pages taken of one chain of the inflate queue; what is beyond stays where it is.
pub const PAGES_PER_CHAIN: usize = 1024;

const DEVICE_TYPE: u32 = 5;
const F_DEFLATE_ON_OOM: u64 = 1 << 2;
const F_REPORTING: u64 = 1 << 5;
const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const REPORTING: [usize; 2] = [2, 4];
/// Unit of the balloon, whatever the guest's page size.
const PAGE_BYTES: usize = 4096;
const PAGES_PER_MIB: u32 = (1 << 20) / PAGE_BYTES as u32;
/// Where `actual` is in the configuration space; `num_pages` comes first.
const ACTUAL: u64 = 4;

/// The device.
pub struct Balloon {
    target_pages: u32,
    /// What the driver says it gave: for show, nothing depends on it.
    actual_pages: u32,
    reported_bytes: u64,
    alarm: Alarm,
    activation: Option<Activation>,
}

impl Balloon {
    /// An empty balloon.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { target_pages: 0, actual_pages: 0, reported_bytes: 0, alarm: Alarm::new()?, activation: None })
    }

    /// Asks the guest to give `mib` in all; less than before lets it take pages back. It gives what it can.
    pub fn set_target(&mut self, mib: u32) {
        self.target_pages = mib.saturating_mul(PAGES_PER_MIB);
        // A driver that comes later reads the target by itself.
        if let Some(activation) = &self.activation {
            activation.interrupt.configuration_changed();
        }
    }

    /// What it has given, MiB, by its own account.
    #[must_use]
    pub fn held_mib(&self) -> u32 {
        self.actual_pages / PAGES_PER_MIB
    }

    /// Bytes that the guest reported free and that were given back since the start.
    #[must_use]
    pub fn reported_bytes(&self) -> u64 {
        self.reported_bytes
    }

    fn work(&mut self, queue: usize) {
        let Some(Activation { memory, queues, interrupt, .. }) = &mut self.activation else { return };
        let Some(queue_of) = queues.get_mut(queue) else { return };
        let mapping = mapping(memory);
        let served = match queue {
            INFLATE => serve(queue_of, memory, interrupt, CHAINS_PER_WAKE, |chain| {
                inflate(&chain, memory, mapping);
                Answer::Used(0)
            }),
            // The pages come back when they are touched.
            DEFLATE => serve(queue_of, memory, interrupt, CHAINS_PER_WAKE, |_| Answer::Used(0)),
            _ if REPORTING.contains(&queue) => serve(queue_of, memory, interrupt, CHAINS_PER_WAKE, |chain| {
                self.reported_bytes = self.reported_bytes.saturating_add(give_back(&chain, mapping));
                Answer::Used(0)
            }),
            _ => return,
        };
        if served != Served::Empty {
            self.alarm.soon();
        }
    }
}

/// Gives back the pages whose numbers a chain lists, runs of them together.
fn inflate(chain: &Chain<'_>, memory: &GuestMemory, mapping: Mapping) {
    let mut numbers = [0; PAGES_PER_CHAIN * 4];
    let length = chain.readable.copy_to(&mut numbers);
    let mut pages: Vec<u64> = numbers[..length].as_chunks().0.iter().map(|n| u32::from_le_bytes(*n).into()).collect();
    pages.sort_unstable();
    pages.dedup();
    for run in pages.chunk_by(|a, b| a + 1 == *b) {
        let slice = memory.get_slice(GuestAddress(run[0] * PAGE_BYTES as u64), run.len() * PAGE_BYTES);
        // A run that leaves guest memory is a lie; one that can't be given back stays with the guest.
        let _ = slice.map(|slice| discard(&slice, mapping));
    }
}

/// Gives back the pages that a chain consists of; how many bytes.
fn give_back(chain: &Chain<'_>, mapping: Mapping) -> u64 {
    let whole =
        chain.writable.slices().iter().filter(|slice| !slice.is_empty() && slice.len().is_multiple_of(PAGE_BYTES));
    // The kernel refuses what does not begin at a page.
    whole.filter(|slice| discard(slice, mapping).is_ok()).map(|slice| slice.len() as u64).sum()
}

impl VirtioDevice for Balloon {
    fn device_type(&self) -> u32 {
        DEVICE_TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[64; 5]
    }

    fn features(&self) -> u64 {
        F_DEFLATE_ON_OOM | F_REPORTING | F_INDIRECT | F_EVENT_INDEX
    }

    /// `struct virtio_balloon_config` (5.5.4): num_pages, actual.
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut space = [0; 8];
        space[..4].copy_from_slice(&self.target_pages.to_le_bytes());
        space[4..].copy_from_slice(&self.actual_pages.to_le_bytes());
        super::read_space(&space, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        if let (ACTUAL, Ok(pages)) = (offset, data.try_into()) {
            self.actual_pages = u32::from_le_bytes(pages);
        }
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        self.activation = Some(activation);
        Ok(())
    }

    fn reset(&mut self) {
        self.activation = None;
        self.actual_pages = 0;
    }

    fn on_notify(&mut self, queue: usize) {
        self.work(queue);
    }

    fn sources(&self) -> Vec<Source<'_>> {
        vec![Source { fd: self.alarm.as_fd(), readable: true, writable: false }]
    }

    fn on_ready(&mut self, _source: usize) {
        self.alarm.clear();
        for queue in 0..self.queue_sizes().len() {
            self.work(queue);
        }
    }

    fn queues(&self) -> &[Queue] {
        self.activation.as_ref().map_or(&[], |activation| &activation.queues)
    }

    fn save(&self) -> Vec<u8> {
        [self.target_pages, self.actual_pages].map(u32::to_le_bytes).concat()
    }

    fn restore(&mut self, saved: &[u8]) -> io::Result<()> {
        let (pages, []) = saved.as_chunks() else { return Err(io::ErrorKind::InvalidData.into()) };
        let &[target, actual] = pages else { return Err(io::ErrorKind::InvalidData.into()) };
        (self.target_pages, self.actual_pages) = (u32::from_le_bytes(target), u32::from_le_bytes(actual));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
