//! The VM generation id: sixteen random bytes in guest memory, other ones in every machine that starts or is restored.
//! Guests with ACPI find them by the DSDT (`VM_Gen_Counter`) and reseed their random number generator when the generic
//! event device tells of a change, before anything of user space runs.
//!
//! Absent on purpose: guests without ACPI have no driver for it; their shim reseeds.

use std::io;

use kvm_ioctls::VmFd;
use rustix::rand::{GetRandomFlags, getrandom};
use vm_memory::{Bytes, GuestAddress};

use crate::layout::{GED_IRQ, VMGENID};
use crate::memory::GuestMemory;

/// Gives the machine an id of its own.
pub fn renew(memory: &GuestMemory) -> io::Result<()> {
    let mut id = [0_u8; 16];
    // The kernel gives so few bytes at once.
    getrandom(&mut id, GetRandomFlags::empty())?;
    memory.write_slice(&id, GuestAddress(VMGENID)).map_err(io::Error::other)
}

/// Tells the guest of the change. After the interrupt controllers' state and before a vCPU runs: then it is the first
/// interrupt that the guest sees.
pub fn tell(vm: &VmFd) -> Result<(), kvm_ioctls::Error> {
    // The line is edge-triggered: it is up and down again.
    vm.set_irq_line(GED_IRQ, true)?;
    vm.set_irq_line(GED_IRQ, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{self, Mapping};

    #[test]
    fn two_machines_of_one_file_have_two_ids() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(128 << 20).unwrap();
        let ids = [0, 1].map(|_| {
            let memory = memory::map(&file, 128, Mapping::Private).unwrap();
            renew(&memory).unwrap();
            memory.read_obj::<[u8; 16]>(GuestAddress(VMGENID)).unwrap()
        });
        assert!(ids[0] != ids[1] && ids.iter().all(|id| *id != [0; 16]), "{ids:x?}");
    }
}
