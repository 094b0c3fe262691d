//! The state of what a machine's vCPUs share: interrupt chips, interval timer, KVM's clock.

use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_clock_data, kvm_irqchip, kvm_pit_state2,
};
use kvm_ioctls::VmFd;
use serde::{Deserialize, Serialize};

use super::StateError;

/// Interrupt chips, interval timer, clock.
#[derive(Default, Serialize, Deserialize)]
pub struct VmState {
    chips: Vec<kvm_irqchip>,
    /// Absent in a machine without one.
    pit: Option<kvm_pit_state2>,
    clock: kvm_clock_data,
}

impl std::fmt::Debug for VmState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "machine {} ns old", self.clock.clock)
    }
}

impl VmState {
    /// Reads the state of a machine whose vCPUs are stopped.
    pub fn save(vm: &VmFd, has_pit: bool) -> Result<Self, StateError> {
        let clock = vm.get_clock().map_err(StateError::get("clock"))?;
        let chips = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC].map(|chip_id| {
            let mut chip = kvm_irqchip { chip_id, ..Default::default() };
            vm.get_irqchip(&mut chip).map(|()| chip)
        });
        let chips = chips.into_iter().collect::<Result<_, _>>().map_err(StateError::get("interrupt chips"))?;
        let pit = has_pit.then(|| vm.get_pit2()).transpose().map_err(StateError::get("interval timer"))?;
        Ok(Self { chips, pit, clock })
    }

    /// Whether the machine has an interval timer.
    #[must_use]
    pub fn has_pit(&self) -> bool {
        self.pit.is_some()
    }

    /// Writes interrupt chips and interval timer. Before the vCPUs' local APICs.
    pub fn restore_chips(&self, vm: &VmFd) -> Result<(), StateError> {
        for chip in &self.chips {
            vm.set_irqchip(chip).map_err(StateError::set("interrupt chips"))?;
        }
        self.pit.iter().try_for_each(|pit| vm.set_pit2(pit)).map_err(StateError::set("interval timer"))
    }

    /// Sets KVM's clock to where it was: the guest's monotonic time goes on as if nothing had been. After the vCPUs'
    /// time stamp counters, from which KVM interpolates it.
    pub fn restore_clock(&self, vm: &VmFd) -> Result<(), StateError> {
        // No flags: with KVM_CLOCK_REALTIME, KVM would add the wall time that has passed since.
        let clock = kvm_clock_data { clock: self.clock.clock, ..Default::default() };
        vm.set_clock(&clock).map_err(StateError::set("clock"))
    }
}
