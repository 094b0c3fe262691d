//! [`Request::Snapshot`](super::Request::Snapshot) and [`Request::Restore`](super::Request::Restore).

use std::fs::File;

use super::super::{FdIndex, Restore};
use super::{Descriptors, Refusal, Server};
use crate::snapshot::{MachineState, prefetch};

impl Server {
    /// Writes the state of the paused machine, and gives the machine up: its memory must not change any more, by a
    /// device any less than by a vCPU. Taking it apart is left to the end of the process: KVM takes its time for that.
    /// A failure leaves it as it was.
    pub(super) fn snapshot(&mut self, state: FdIndex, descriptors: &mut Descriptors) -> Result<(), Refusal> {
        let machine = self.machine()?;
        if machine.is_running() {
            return Err(Refusal::Running);
        }
        let mut file = File::from(descriptors.take(state)?);
        machine.save()?.write(&mut file).map_err(Refusal::Write)?;
        self.events.remove_machine();
        self.given_up = self.machine.take();
        Ok(())
    }

    /// Makes a machine that goes on from a snapshot.
    pub(super) fn restore(&mut self, restore: &Restore, descriptors: &mut Descriptors) -> Result<(), Refusal> {
        let state = MachineState::read(&File::from(descriptors.take(restore.state)?))?;
        if state.memory_mib != restore.memory.mib {
            return Err(Refusal::OtherMemory { snapshot: state.memory_mib, machine: restore.memory.mib });
        }
        let kind = (state.vcpus.len() as u8, state.acpi, None);
        let machine = self.create(kind, restore.kvm, restore.memory, &restore.devices, descriptors)?;
        // Before the devices, which look at their queues.
        prefetch::bring_in(machine.memory(), state.memory_mib, &restore.prefetch);
        machine.set_state(&state)?;
        self.keep(machine, restore.resume)
    }
}
