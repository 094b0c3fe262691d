//! Who answers which address: memory-mapped and port I/O.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that answers reads and writes at addresses of its own. `offset` counts from its first address; data has
/// 1, 2, 4 or 8 bytes, or whatever a hostile guest makes of it.
pub trait BusDevice: Send {
    /// Fills `data`.
    fn read(&mut self, offset: u64, data: &mut [u8]);
    /// Takes `data`.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// The devices of one address space. Cheap to clone; the devices are shared.
#[derive(Clone, Default)]
pub struct Bus {
    ranges: BTreeMap<u64, (u64, Arc<Mutex<dyn BusDevice>>)>,
}

/// Two devices at one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the addresses {start:#x} to {end:#x} are taken")]
pub struct Overlap {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

impl Bus {
    /// Puts a device at `start`, `length` addresses long.
    pub fn insert(&mut self, start: u64, length: u64, device: Arc<Mutex<dyn BusDevice>>) -> Result<(), Overlap> {
        let end = start.saturating_add(length);
        let before = self.ranges.range(..end).next_back();
        if length == 0 || before.is_some_and(|(at, (long, _))| at + long > start) {
            return Err(Overlap { start, end });
        }
        self.ranges.insert(start, (length, device));
        Ok(())
    }

    /// Has the device at `address` fill `data`; all ones where there is none, as on real buses.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address) {
            Some((offset, device)) => device.lock().unwrap_or_else(PoisonError::into_inner).read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// Gives `data` to the device at `address`, if there is one.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((offset, device)) = self.find(address) {
            device.lock().unwrap_or_else(PoisonError::into_inner).write(offset, data);
        }
    }

    fn find(&self, address: u64) -> Option<(u64, &Mutex<dyn BusDevice>)> {
        let (start, (length, device)) = self.ranges.range(..=address).next_back()?;
        (address - start < *length).then_some((address - start, &**device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Cell(Vec<u8>);

    impl BusDevice for Cell {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data.fill(self.0.get(offset as usize).copied().unwrap_or(0));
        }

        fn write(&mut self, _: u64, data: &[u8]) {
            self.0.extend_from_slice(data);
        }
    }

    #[test]
    fn each_address_has_one_device_or_none() {
        let mut bus = Bus::default();
        let cell: Arc<Mutex<dyn BusDevice>> = Arc::new(Mutex::new(Cell::default()));
        bus.insert(0x1000, 0x10, cell.clone()).unwrap();
        bus.insert(0x1010, 0x10, cell.clone()).unwrap();
        for (start, length) in [(0x1000, 1), (0xff0, 0x11), (0x101f, 1), (0x2000, 0), (0, u64::MAX)] {
            assert!(bus.insert(start, length, cell.clone()).is_err(), "{start:#x}");
        }
        bus.write(0x1000, &[7]);
        let mut data = [0];
        bus.read(0x1010, &mut data);
        assert_eq!(data, [7]);
        bus.read(0x1020, &mut data);
        assert_eq!(data, [0xff]);
    }
}
