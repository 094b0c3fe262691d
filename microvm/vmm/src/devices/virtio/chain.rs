//! One chain of descriptors, checked as a whole before a device looks at any of it.
//!
//! A chain is taken only if every buffer lies in guest memory, none that the device reads comes after one it writes
//! (virtio 1.2, section 2.7.4.2), it ends, and it has at most [`CHAIN_MAX`] buffers. Buffers may overlap, each other or
//! anything else: a device's view of guest memory is volatile, so what that breaks is the guest.

use virtio_queue::DescriptorChain;
use vm_memory::{GuestMemoryBackend as _, VolatileSlice};

use crate::memory::GuestMemory;

/// Buffers of a chain at most. Linux makes chains as long as a device's own limits allow, which lie below.
pub const CHAIN_MAX: usize = 128;

/// A chain that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A checked chain.
#[derive(Debug)]
pub struct Chain<'m> {
    /// What the device reads.
    pub readable: Buffers<'m>,
    /// What it writes.
    pub writable: Buffers<'m>,
}

/// Pieces of guest memory, in order.
#[derive(Debug, Clone, Default)]
pub struct Buffers<'m>(Vec<VolatileSlice<'m>>);

impl<'m> Chain<'m> {
    /// Checks and resolves `descriptors`.
    ///
    /// # Errors
    ///
    /// It breaks a rule; see the module.
    pub fn check(descriptors: DescriptorChain<&'m GuestMemory>, memory: &'m GuestMemory) -> Result<Self, Malformed> {
        let (mut readable, mut writable) = (Buffers::default(), Buffers::default());
        let mut goes_on = true;
        for (count, descriptor) in descriptors.enumerate() {
            let follows_writable = !descriptor.is_write_only() && !writable.0.is_empty();
            if count == CHAIN_MAX || follows_writable {
                return Err(Malformed);
            }
            let slice = memory.get_slice(descriptor.addr(), descriptor.len() as usize).map_err(|_| Malformed)?;
            let side = if descriptor.is_write_only() { &mut writable } else { &mut readable };
            side.0.push(slice);
            goes_on = descriptor.has_next();
        }
        // The iterator ends without a word at a loop, at an index out of range and at a table that is none.
        if goes_on { Err(Malformed) } else { Ok(Self { readable, writable }) }
    }
}

impl<'m> Buffers<'m> {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(VolatileSlice::len).sum()
    }

    /// The pieces themselves.
    #[must_use]
    pub fn slices(&self) -> &[VolatileSlice<'m>] {
        &self.0
    }

    /// Takes the first `bytes` away and returns them; all there is, if that is less.
    pub fn take(&mut self, bytes: usize) -> Self {
        let mut left = bytes;
        let (mut front, mut rest) = (Vec::new(), Vec::new());
        for slice in self.0.drain(..) {
            // Neither can fail: both parts lie within the slice.
            let here = left.min(slice.len());
            front.extend(slice.subslice(0, here).ok().filter(|part| !part.is_empty()));
            rest.extend(slice.offset(here).ok().filter(|part| !part.is_empty()));
            left -= here;
        }
        self.0 = rest;
        Self(front)
    }

    /// Copies from the guest into `to`; returns how many bytes there were.
    pub fn copy_to(&self, to: &mut [u8]) -> usize {
        let mut done = 0;
        for slice in &self.0 {
            done += slice.copy_to(&mut to[done..]);
        }
        done
    }

    /// Copies `from` to the guest; returns for how many bytes there was room.
    pub fn copy_from(&self, from: &[u8]) -> usize {
        let mut done = 0;
        for slice in &self.0 {
            let here = slice.len().min(from.len() - done);
            slice.copy_from(&from[done..done + here]);
            done += here;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use virtio_queue::{Queue, QueueOwnedT as _, QueueT as _};
    use vm_memory::{Bytes as _, GuestAddress};

    use super::*;
    use crate::devices::virtio::testing::{BUFFERS, Descriptor, Driver, INDIRECT, MEMORY_BYTES, NEXT, WRITE};

    const TABLE: u64 = 0x1000;

    /// Checks the chain from 0 of a table: (bytes readable, bytes writable).
    fn check(memory: &GuestMemory, table: &[Descriptor]) -> Result<(usize, usize), Malformed> {
        for (index, descriptor) in (0_u64..).zip(table) {
            memory.write_slice(&descriptor.to_bytes(), GuestAddress(TABLE + 16 * index)).unwrap();
        }
        memory.write_obj(0x0001_0000_u32, GuestAddress(0x2000)).unwrap();
        let mut queue = Queue::new(16).unwrap();
        queue.set_desc_table_address(Some(TABLE as u32), None);
        queue.set_avail_ring_address(Some(0x2000), None);
        queue.set_used_ring_address(Some(0x3000), None);
        queue.set_ready(true);
        let descriptors = queue.iter(memory).unwrap().next().unwrap();
        Chain::check(descriptors, memory).map(|chain| (chain.readable.bytes(), chain.writable.bytes()))
    }

    fn descriptor(address: u64, length: u32, flags: u16, next: u16) -> Descriptor {
        Descriptor { address, length, flags, next }
    }

    #[test]
    fn good_chains_are_taken() {
        let memory = Driver::memory();
        let write_last = [descriptor(BUFFERS, 16, NEXT, 2), descriptor(0, 0, 0, 0), descriptor(0, 512, WRITE, 0)];
        assert_eq!(check(&memory, &write_last), Ok((16, 512)));
        assert_eq!(check(&memory, &[descriptor(MEMORY_BYTES - 1, 1, 0, 9)]), Ok((1, 0)));
        assert_eq!(check(&memory, &[descriptor(BUFFERS, 0, WRITE, 0)]), Ok((0, 0)));
        for (index, inner) in (0..).zip([descriptor(BUFFERS, 8, NEXT, 1), descriptor(BUFFERS, 9, WRITE, 0)]) {
            memory.write_slice(&inner.to_bytes(), GuestAddress(0x9000 + 16 * index)).unwrap();
        }
        assert_eq!(check(&memory, &[descriptor(0x9000, 32, INDIRECT, 0)]), Ok((8, 9)));
    }

    #[test]
    fn bad_chains_are_not() {
        let memory = Driver::memory();
        let inner = descriptor(0xa000, 32, INDIRECT, 0);
        memory.write_slice(&inner.to_bytes(), GuestAddress(0x9000)).unwrap();
        let bad: &[(&str, &[Descriptor])] = &[
            ("a loop", &[descriptor(BUFFERS, 1, NEXT, 0)]),
            ("next out of range", &[descriptor(BUFFERS, 1, NEXT, 16)]),
            ("beyond memory", &[descriptor(MEMORY_BYTES, 1, 0, 0)]),
            ("across its end", &[descriptor(MEMORY_BYTES - 1, 2, 0, 0)]),
            ("around the end of addresses", &[descriptor(u64::MAX, 2, 0, 0)]),
            ("huge", &[descriptor(BUFFERS, u32::MAX, WRITE, 0)]),
            ("over 4 GiB", &[descriptor(0, u32::MAX, NEXT, 1), descriptor(0, u32::MAX, 0, 0)]),
            ("readable after writable", &[descriptor(BUFFERS, 1, WRITE | NEXT, 1), descriptor(BUFFERS, 1, 0, 0)]),
            ("a table within a table", &[descriptor(0x9000, 16, INDIRECT, 0)]),
            ("a table of no whole entries", &[descriptor(0x9000, 17, INDIRECT, 0)]),
            ("an empty table", &[descriptor(0x9000, 0, INDIRECT, 0)]),
            ("a table outside memory", &[descriptor(MEMORY_BYTES, 32, INDIRECT, 0)]),
        ];
        for (what, table) in bad {
            assert_eq!(check(&memory, table), Err(Malformed), "{what}");
        }
    }

    #[test]
    fn a_long_table_is_cut_off() {
        let memory = Driver::memory();
        for index in 0..=CHAIN_MAX as u64 {
            let inner = descriptor(BUFFERS, 1, NEXT, index as u16 + 1);
            memory.write_slice(&inner.to_bytes(), GuestAddress(0x9000 + 16 * index)).unwrap();
        }
        let end = |length: usize| {
            let last = descriptor(BUFFERS, 1, 0, 0);
            memory.write_slice(&last.to_bytes(), GuestAddress(0x9000 + 16 * (length as u64 - 1))).unwrap();
            check(&memory, &[descriptor(0x9000, 16 * (CHAIN_MAX as u32 + 1), INDIRECT, 0)])
        };
        assert_eq!(end(CHAIN_MAX + 1), Err(Malformed));
        assert_eq!(end(CHAIN_MAX), Ok((CHAIN_MAX, 0)));
    }

    #[test]
    fn buffers_are_taken_from_the_front() {
        let memory = Driver::memory();
        memory.write_slice(&[1, 2, 3, 4, 5, 6], GuestAddress(BUFFERS)).unwrap();
        let slice = |at, length| memory.get_slice(GuestAddress(BUFFERS + at), length).unwrap();
        let mut buffers = Buffers(vec![slice(0, 2), slice(2, 0), slice(2, 4)]);
        let front = buffers.take(3);
        let mut bytes = [0; 8];
        assert_eq!((front.copy_to(&mut bytes), bytes), (3, [1, 2, 3, 0, 0, 0, 0, 0]));
        assert_eq!((buffers.copy_to(&mut bytes[..2]), bytes), (2, [4, 5, 3, 0, 0, 0, 0, 0]));
        assert_eq!(buffers.copy_from(&[7, 7, 7, 7]), 3);
        assert_eq!(buffers.take(99).bytes(), 3);
        assert_eq!(buffers.bytes(), 0);
    }
}
