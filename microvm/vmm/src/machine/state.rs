//! A machine at rest into a [`MachineState`], and a new machine from one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{During, Machine, MachineError};
use crate::generation;
use crate::snapshot::{MachineState, SavedDevice, StateError, VcpuState, VmState, saved_msrs, tsc};

impl Machine {
    /// Reads all but the memory. The machine is at rest and must not run again: from here on, what its devices do to
    /// its memory would be known to the memory only.
    pub fn save(&self) -> Result<MachineState, MachineError> {
        let indices = self.kvm.get_msr_index_list().during("asking which registers there are")?;
        let indices = saved_msrs(indices.as_slice());
        let vcpus = self.vcpus().map(|vcpu| VcpuState::save(&vcpu, &indices)).collect::<Result<_, _>>()?;
        Ok(MachineState {
            memory_mib: self.memory_mib,
            acpi: self.acpi,
            vcpus,
            vm: VmState::save(&self.vm)?,
            devices: (self.transports.iter())
                .map(|(slot, transport)| SavedDevice { slot: *slot, state: lock(transport).save() })
                .collect(),
        })
    }

    /// Puts a new machine where another was when `state` was saved. Its memory must be that of the other.
    pub fn set_state(&self, state: &MachineState) -> Result<(), MachineError> {
        let vcpus = self.vcpus().collect::<Vec<_>>();
        if vcpus.len() != state.vcpus.len() {
            return Err(StateError::Vcpus { snapshot: state.vcpus.len(), machine: vcpus.len() }.into());
        }
        let (there, here) =
            (state.devices.iter().map(|device| device.slot), self.transports.iter().map(|(slot, _)| *slot));
        if !there.clone().eq(here.clone()) {
            return Err(MachineError::OtherDevices { snapshot: there.collect(), machine: here.collect() });
        }
        state.vm.restore_chips(&self.vm)?;
        for (vcpu, state) in vcpus.iter().zip(&state.vcpus) {
            state.restore(vcpu)?;
        }
        tsc::restore(&vcpus, &state.vcpus)?;
        for (vcpu, state) in vcpus.iter().zip(&state.vcpus) {
            state.restore_timers(vcpu)?;
        }
        state.vm.restore_clock(&self.vm)?;
        for ((_, transport), device) in self.transports.iter().zip(&state.devices) {
            lock(transport).restore(&device.state)?;
        }
        if self.acpi {
            generation::renew(&self.memory).during("making a generation id")?;
            generation::tell(&self.vm).during("telling of the generation id")?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
