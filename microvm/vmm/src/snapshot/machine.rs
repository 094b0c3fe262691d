//! All of a machine but its memory: what the file `state` holds.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use super::format::STATE;
use super::{Refusal, VcpuState, VmState};
use crate::devices::virtio::transport::TransportState;
use crate::layout::Slot;
use crate::memory::{MEMORY_MAX_MIB, MEMORY_MIN_MIB};

/// Most vCPUs of a machine.
const VCPUS_MAX: usize = 6;

/// A machine at rest.
#[derive(Debug, Serialize, Deserialize)]
pub struct MachineState {
    /// Size of its memory, MiB.
    pub memory_mib: u32,
    /// Whether it has ACPI tables.
    pub acpi: bool,
    /// What its vCPUs share.
    pub vm: VmState,
    /// Its vCPUs, by number.
    pub vcpus: Vec<VcpuState>,
    /// Its virtio devices, by slot.
    pub devices: Vec<SavedDevice>,
}

/// One virtio device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDevice {
    /// Where it is.
    pub slot: Slot,
    /// Its transport, and in it the device.
    pub state: TransportState,
}

impl MachineState {
    /// Writes it to an empty file.
    pub fn write(&self, file: &mut File) -> io::Result<()> {
        STATE.write(file, self)
    }

    /// Reads it from a file's beginning, whatever the file's position.
    pub fn read(file: &File) -> Result<Self, Refusal> {
        STATE.read::<Self>(file)?.checked()
    }

    /// Reads it from the bytes of a whole file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        STATE.decode::<Self>(bytes)?.checked()
    }

    fn checked(self) -> Result<Self, Refusal> {
        let damaged = |what| Err(Refusal::Damaged { file: STATE.name, what });
        if !(1..=VCPUS_MAX).contains(&self.vcpus.len()) {
            return damaged(format!("a machine of {} vCPUs", self.vcpus.len()));
        }
        if !(MEMORY_MIN_MIB..=MEMORY_MAX_MIB).contains(&self.memory_mib) {
            return damaged(format!("a machine of {} MiB", self.memory_mib));
        }
        if !self.devices.is_sorted_by(|a, b| a.slot < b.slot) {
            return damaged("its devices are not in the order of their slots".to_owned());
        }
        Ok(self)
    }
}
