//! Rings made of arbitrary bytes, and what no device may do with them.

use std::ops::Range;

use super::{BUFFERS, DESCRIPTOR_BYTES, Descriptor, Driver, INDIRECT, MEMORY_BYTES, NEXT, USED_RING, WRITE};

impl Driver {
    /// Gives queue `queue` a descriptor table, an available ring and buffers that are made of `bytes`, notifies the
    /// device and checks what no device may break: it returns; only heads that were available are used, each once; and
    /// memory changes only where a descriptor lets the device write, or in the used ring.
    ///
    /// `bytes`: the number of available heads, that many heads, then descriptors of 16 bytes each (bent so that about
    /// half hit memory), the rest is put where buffers are.
    ///
    /// # Panics
    ///
    /// The device did what it may not.
    pub fn run_hostile(&mut self, queue: usize, bytes: &[u8]) {
        let heads = self.scatter(queue, bytes);
        let before = self.get(0, MEMORY_BYTES as usize);
        self.notify(queue);
        let table = &before[queue * 0x1000..][..usize::from(self.queues[queue].size) * DESCRIPTOR_BYTES];
        let hits_rings = writable(table, &before).into_iter().any(|range| range.start < BUFFERS);
        let mut available: Vec<u32> = heads.into_iter().map(u32::from).collect();
        // A driver that has the device write over its own rings can't tell what was used.
        for (head, _) in if hits_rings { Vec::new() } else { self.used(queue) } {
            let at = available.iter().position(|candidate| *candidate == head);
            available.swap_remove(at.unwrap_or_else(|| panic!("{head} was used, and is not one of {available:?}")));
        }
        self.check_changes(queue, &before);
    }

    /// Makes rings and buffers of `bytes` as [`Self::run_hostile`] does; returns the heads that are available.
    pub fn scatter(&mut self, queue: usize, bytes: &[u8]) -> Vec<u16> {
        let size = usize::from(self.queues[queue].size);
        let (count, bytes) = bytes.split_first().map_or((0, bytes), |(n, rest)| (usize::from(*n) % (size + 1), rest));
        let (heads, bytes) = bytes.split_at(count.min(bytes.len()));
        let (table, buffers) = bytes.split_at((size * DESCRIPTOR_BYTES).min(bytes.len()));
        self.put(BUFFERS, &buffers[..buffers.len().min((MEMORY_BYTES - BUFFERS) as usize)]);
        for (index, raw) in (0_u16..).zip(table.as_chunks().0) {
            self.set_descriptor(queue, index, bent(Descriptor::from_bytes(raw)));
        }
        // One head in eight is out of range.
        let heads: Vec<u16> = heads
            .iter()
            .map(|head| if *head < 224 { u16::from(*head) % size as u16 } else { u16::from(*head) })
            .collect();
        heads.iter().for_each(|head| self.make_available(queue, *head));
        heads
    }

    /// Panics where memory differs from `before`, outside what the device may write in queue `queue`.
    fn check_changes(&self, queue: usize, before: &[u8]) {
        let after = self.get(0, MEMORY_BYTES as usize);
        let base = queue * 0x1000;
        let mut allowed = writable(&before[base..][..usize::from(self.queues[queue].size) * DESCRIPTOR_BYTES], before);
        let used = base as u64 + USED_RING;
        allowed.push(used..base as u64 + 0x1000);
        let mut expected = before.to_vec();
        let mut covered = 0;
        allowed.sort_unstable_by_key(|range| range.start);
        for range in allowed {
            let part = covered.max(range.start as usize)..(range.end.min(MEMORY_BYTES) as usize);
            if !part.is_empty() {
                expected[part.clone()].copy_from_slice(&after[part.clone()]);
                covered = part.end;
            }
        }
        if expected != after {
            let at = expected.iter().zip(&after).position(|(expected, found)| expected != found);
            panic!("{:#x} was written", at.unwrap_or_default());
        }
    }
}

/// What the descriptors of `table`, and of the tables it names, let a device write.
fn writable(table: &[u8], memory: &[u8]) -> Vec<Range<u64>> {
    let descriptors = |table: &[u8]| table.as_chunks().0.iter().map(Descriptor::from_bytes).collect::<Vec<_>>();
    let mut all = descriptors(table);
    for outer in descriptors(table).into_iter().filter(|outer| outer.flags & INDIRECT != 0) {
        // As far as it lies in memory.
        let start = outer.address.min(MEMORY_BYTES) as usize;
        let end = outer.address.saturating_add(outer.length.into()).min(MEMORY_BYTES) as usize;
        all.extend(descriptors(&memory[start..end]));
    }
    let writable = all.into_iter().filter(|descriptor| descriptor.flags & WRITE != 0);
    writable.map(|d| d.address..d.address.saturating_add(d.length.into())).collect()
}

/// Any descriptor, made likelier to get past a device's first check.
fn bent(raw: Descriptor) -> Descriptor {
    let is_wild = raw.address >> 60 == 0;
    Descriptor {
        address: if is_wild { raw.address } else { raw.address % (2 * MEMORY_BYTES) },
        length: match raw.length >> 24 {
            0..128 => raw.length & 0xffff,
            128..224 => raw.length % (2 * MEMORY_BYTES as u32),
            _ => raw.length,
        },
        flags: raw.flags & (NEXT | WRITE | INDIRECT),
        next: raw.next % 32,
    }
}
