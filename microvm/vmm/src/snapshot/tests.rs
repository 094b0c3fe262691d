//! State of real vCPUs, wherever `/dev/kvm` opens; also where it only emulates.

use std::fs::File;
use std::os::unix::fs::FileExt;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, Msrs, kvm_debugregs, kvm_msr_entry};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use super::{MachineState, StateError, VcpuState, VmState, saved_msrs, tsc};
use crate::memory::{self, GuestMemory, MEMORY_MIN_MIB, Mapping};

/// Counts in BX and tells each number on port 0x10: inc bx; mov ax,bx; out 0x10,al; jmp back.
const COUNTER: [u8; 7] = [0x43, 0x89, 0xd8, 0xe6, 0x10, 0xeb, 0xf9];
const CODE_AT: u64 = 0x1000;

/// A machine as small as they come. Fields in the order in which they may go.
struct Tiny {
    vcpus: Vec<VcpuFd>,
    vm: VmFd,
    _memory: GuestMemory,
}

impl Tiny {
    fn new(kvm: &Kvm, file: &File, mapping: Mapping, vcpus: u64) -> Self {
        let memory = memory::map(file, MEMORY_MIN_MIB, mapping).unwrap();
        let vm = kvm.create_vm().unwrap();
        vm.create_irq_chip().unwrap();
        crate::sys::memory::give(&vm, &memory).unwrap();
        let vcpus = (0..vcpus).map(|id| vm.create_vcpu(id).unwrap()).collect();
        Self { vcpus, vm, _memory: memory }
    }

    fn boot(kvm: &Kvm, file: &File, mapping: Mapping, vcpus: u64) -> Self {
        let tiny = Self::new(kvm, file, mapping, vcpus);
        let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap();
        for vcpu in &tiny.vcpus {
            vcpu.set_cpuid2(&cpuid).unwrap();
        }
        let first = &tiny.vcpus[0];
        let (mut sregs, mut regs) = (first.get_sregs().unwrap(), first.get_regs().unwrap());
        (sregs.cs.base, sregs.cs.selector) = (0, 0);
        (regs.rip, regs.rflags) = (CODE_AT, 2);
        first.set_sregs(&sregs).unwrap();
        first.set_regs(&regs).unwrap();
        tiny
    }

    /// The next number that the guest tells; its `out` is complete when this returns.
    fn next(&mut self) -> u8 {
        let first = &mut self.vcpus[0];
        let told = match first.run().unwrap() {
            VcpuExit::IoOut(0x10, &[told]) => told,
            other => panic!("{other:?}"),
        };
        first.set_kvm_immediate_exit(1);
        assert_eq!(first.run().unwrap_err().errno(), libc::EINTR);
        first.set_kvm_immediate_exit(0);
        told
    }

    fn save(&self, kvm: &Kvm) -> MachineState {
        let msrs = saved_msrs(kvm.get_msr_index_list().unwrap().as_slice());
        MachineState {
            memory_mib: MEMORY_MIN_MIB,
            acpi: false,
            vm: VmState::save(&self.vm).unwrap(),
            vcpus: self.vcpus.iter().map(|vcpu| VcpuState::save(vcpu, &msrs).unwrap()).collect(),
            devices: Vec::new(),
        }
    }

    fn restore(kvm: &Kvm, file: &File, state: &MachineState) -> Result<Self, StateError> {
        let tiny = Self::new(kvm, file, Mapping::Private, state.vcpus.len() as u64);
        tiny.put(state)?;
        Ok(tiny)
    }

    fn put(&self, state: &MachineState) -> Result<(), StateError> {
        state.vm.restore_chips(&self.vm)?;
        for (vcpu, state) in self.vcpus.iter().zip(&state.vcpus) {
            state.restore(vcpu)?;
        }
        tsc::restore(&self.vcpus.iter().collect::<Vec<_>>(), &state.vcpus)?;
        for (vcpu, state) in self.vcpus.iter().zip(&state.vcpus) {
            state.restore_timers(vcpu)?;
        }
        state.vm.restore_clock(&self.vm)
    }
}

/// KVM, or word of its absence on stderr.
fn kvm() -> Option<Kvm> {
    match Kvm::new() {
        Ok(kvm) => Some(kvm),
        Err(error) => {
            eprintln!("SKIPPED: /dev/kvm does not open ({error}); nothing about vCPU state was tested");
            None
        }
    }
}

fn memory_file() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(u64::from(MEMORY_MIN_MIB) << 20).unwrap();
    file.write_all_at(&COUNTER, CODE_AT).unwrap();
    file
}

/// Through the file, as every restore goes.
fn reread(state: &MachineState) -> MachineState {
    let mut file = tempfile::tempfile().unwrap();
    state.write(&mut file).unwrap();
    MachineState::read(&file).unwrap()
}

fn moves_with_its_offset(vcpu: &VcpuFd) -> bool {
    let msrs =
        |data| Msrs::from_entries(&[kvm_msr_entry { index: super::msr::TSC, data, ..Default::default() }]).unwrap();
    let read = || {
        let mut counter = msrs(0);
        vcpu.get_msrs(&mut counter).unwrap();
        counter.as_slice()[0].data
    };
    let (before, offset) = (read(), crate::sys::vcpu::tsc_offset(vcpu).unwrap());
    crate::sys::vcpu::set_tsc_offset(vcpu, offset.wrapping_add(1 << 50)).unwrap();
    let moved = read().wrapping_sub(before) >= 1 << 50;
    crate::sys::vcpu::set_tsc_offset(vcpu, offset).unwrap();
    moved
}

#[test]
fn a_restored_guest_goes_on_and_so_do_its_siblings() {
    let Some(kvm) = kvm() else { return };
    let file = memory_file();
    let mut origin = Tiny::boot(&kvm, &file, Mapping::Shared, 1);
    assert_eq!([origin.next(), origin.next(), origin.next()], [1, 2, 3]);
    let state = reread(&origin.save(&kvm));
    drop(origin);
    let mut one = Tiny::restore(&kvm, &file, &state).unwrap();
    let mut other = Tiny::restore(&kvm, &file, &state).unwrap();
    assert_eq!([one.next(), one.next(), other.next(), one.next()], [4, 5, 4, 6]);
}

#[test]
fn every_register_comes_back() {
    let Some(kvm) = kvm() else { return };
    let file = memory_file();
    let origin = Tiny::boot(&kvm, &file, Mapping::Shared, 2);
    for (number, vcpu) in (1..).zip(&origin.vcpus) {
        let mut regs = vcpu.get_regs().unwrap();
        (regs.rax, regs.r15, regs.rsp) = (number, number << 40, 0x7000);
        vcpu.set_regs(&regs).unwrap();
        let mut xsave = vcpu.get_xsave().unwrap();
        // First XMM register, in the legacy area; and that it is in use, in the header.
        xsave.region[40] = number as u32 * 7;
        xsave.region[128] = 3;
        crate::sys::vcpu::set_xsave(vcpu, &xsave).unwrap();
        vcpu.set_debug_regs(&kvm_debugregs {
            db: [number, 2, 3, 4],
            dr6: 0xffff_0ff0,
            dr7: 0x400,
            ..Default::default()
        })
        .unwrap();
        let entry = |index, data| kvm_msr_entry { index, data, ..Default::default() };
        let msrs = [entry(0xc000_0082, 0xffff_8000_0000_0000 + number), entry(0x277, 0x0007_0406_0007_0406)];
        assert_eq!(vcpu.set_msrs(&Msrs::from_entries(&msrs).unwrap()).unwrap(), 2);
    }
    let state = origin.save(&kvm);
    let again = Tiny::restore(&kvm, &file, &reread(&state)).unwrap().save(&kvm);
    for (before, after) in state.vcpus.iter().zip(&again.vcpus) {
        assert_eq!(after.without_time(), before.without_time());
    }
    assert_ne!(state.vcpus[0].without_time(), state.vcpus[1].without_time());
}

#[test]
fn a_counter_below_one_second_goes_on_where_it_was() {
    let Some(kvm) = kvm() else { return };
    let file = memory_file();
    let origin = Tiny::boot(&kvm, &file, Mapping::Shared, 2);
    if !moves_with_its_offset(&origin.vcpus[0]) {
        eprintln!("SKIPPED: this KVM has guests read the host's time stamp counter; its offset was not tested");
        return;
    }
    let mut state = origin.save(&kvm);
    let second = u64::from(state.vcpus[0].tsc.khz) * 1000;
    state.vcpus[0].tsc.value = second / 2;
    let again = Tiny::restore(&kvm, &file, &state).unwrap().save(&kvm);
    let after = again.vcpus[0].tsc.value;
    assert!((second / 2..second * 60).contains(&after), "{after} in place of a little over {}", second / 2);
    let apart = again.vcpus[1].tsc.value.wrapping_sub(after);
    assert!(apart < second, "the vCPUs' counters are no longer in step: {apart}");
}

#[test]
fn the_clock_goes_on_where_it_was() {
    let Some(kvm) = kvm() else { return };
    let file = memory_file();
    let origin = Tiny::boot(&kvm, &file, Mapping::Shared, 1);
    let (state, again) = (origin.save(&kvm), Tiny::new(&kvm, &file, Mapping::Private, 1));
    let before = origin.vm.get_clock().unwrap().clock;
    drop(origin);
    again.put(&state).unwrap();
    let after = again.vm.get_clock().unwrap().clock;
    assert!((before.saturating_sub(10_000_000_000)..before + 10_000_000_000).contains(&after), "{before} {after}");
}

#[test]
fn a_register_that_kvm_does_not_know_is_named() {
    let Some(kvm) = kvm() else { return };
    let file = memory_file();
    let tiny = Tiny::boot(&kvm, &file, Mapping::Shared, 1);
    let unknown = kvm_msr_entry { index: 0x1234_5678, ..Default::default() };
    let refused = super::msr::write(&tiny.vcpus[0], &[unknown]);
    assert!(matches!(refused, Err(StateError::Msr { index: 0x1234_5678 })), "{refused:?}");
}
