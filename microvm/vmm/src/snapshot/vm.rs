//! The state of what a machine's vCPUs share: interrupt chips and KVM's clock. There is no interval timer.

use kvm_bindings::{KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_clock_data, kvm_irqchip};
use kvm_ioctls::VmFd;
use serde::{Deserialize, Serialize};

use super::StateError;

/// Interrupt chips and clock.
#[derive(Default, Serialize, Deserialize)]
pub struct VmState {
    chips: Vec<kvm_irqchip>,
    clock: kvm_clock_data,
}

impl std::fmt::Debug for VmState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "machine {} ns old", self.clock.clock)
    }
}

impl VmState {
    /// Reads the state of a machine whose vCPUs are stopped.
    pub fn save(vm: &VmFd) -> Result<Self, StateError> {
        let clock = vm.get_clock().map_err(StateError::get("clock"))?;
        let chips = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC].map(|chip_id| {
            let mut chip = kvm_irqchip { chip_id, ..Default::default() };
            vm.get_irqchip(&mut chip).map(|()| chip)
        });
        let chips = chips.into_iter().collect::<Result<_, _>>().map_err(StateError::get("interrupt chips"))?;
        Ok(Self { chips, clock })
    }

    /// Writes the interrupt chips. Before the vCPUs' local APICs.
    pub fn restore_chips(&self, vm: &VmFd) -> Result<(), StateError> {
        self.chips.iter().try_for_each(|chip| vm.set_irqchip(chip)).map_err(StateError::set("interrupt chips"))
    }

    /// Sets KVM's clock to where it was: the guest's monotonic time goes on as if nothing had been. After the vCPUs'
    /// time stamp counters, from which KVM interpolates it.
    pub fn restore_clock(&self, vm: &VmFd) -> Result<(), StateError> {
        // No flags: with KVM_CLOCK_REALTIME, KVM would add the wall time that has passed since.
        let clock = kvm_clock_data { clock: self.clock.clock, ..Default::default() };
        vm.set_clock(&clock).map_err(StateError::set("clock"))
    }
}
