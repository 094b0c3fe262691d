//! What KVM does for a machine, shown by guests of a few instructions: exits to ports and memory, interrupts,
//! notifications, rest and end.

#[path = "support/tiny_guest.rs"]
mod tiny_guest;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use hearth_vmm::control::{Entry, StopReason};
use hearth_vmm::devices::virtio::{Activation, VirtioDevice};
use hearth_vmm::layout::Slot;
use hearth_vmm::machine::{Fitted, Machine, Parts, Prepared};
use hearth_vmm::memory::Mapping;
use tiny_guest::{CODE, RESET, console, image, kvm, line, print};
use virtio_queue::Queue;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// A page of the guest that belongs to it.
const DATA: u32 = CODE + 0x1000;

/// A device with one queue and a configuration space of 0x5a bytes' pattern.
struct Still;

impl VirtioDevice for Still {
    fn device_type(&self) -> u32 {
        4
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16]
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _: u64, data: &mut [u8]) {
        data.fill(0x5a);
    }

    fn activate(&mut self, _: Activation) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) {}

    fn on_notify(&mut self, _: usize) {}

    fn queues(&self) -> &[Queue] {
        &[]
    }
}

/// A machine that runs `code`, with [`Still`] as its entropy device.
fn machine(kvm: OwnedFd, code: &[u8], entry: Entry, vcpus: u8, console: OwnedFd) -> Machine {
    let (memory, start) = image(code, entry, vcpus, &[Slot::Entropy]);
    let virtio: Vec<(Slot, Box<dyn VirtioDevice>)> = vec![(Slot::Entropy, Box::new(Still))];
    let parts = Parts {
        vm: Prepared::new(kvm).unwrap(),
        memory,
        memory_mib: 128,
        mapping: Mapping::Private,
        huge_pages: false,
        vcpus,
        start: Some(start),
        acpi: false,
        devices: Fitted { virtio, console: Some(console) },
        vcpu_filter: None,
    };
    Machine::create(parts).unwrap()
}

fn wait_for(event: &EventFd) {
    let epoll = Epoll::new().unwrap();
    let interest = EpollEvent::new(EventSet::IN, 0);
    epoll.ctl(ControlOperation::Add, event.as_raw_fd(), interest).unwrap();
    while epoll.wait(-1, &mut [EpollEvent::default()]).is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
}

#[test]
fn a_guest_writes_to_its_console_by_either_protocol_and_resets() {
    for entry in [Entry::Pvh, Entry::Linux64] {
        let Some(kvm) = kvm() else { return };
        let (mut output, end) = console();
        let mut machine = machine(kvm, &[&print("it runs\n"), RESET].concat(), entry, 1, end);
        machine.resume();
        assert_eq!(line(&mut output), "it runs\n");
        wait_for(machine.stop().event());
        assert_eq!(machine.stop_reason(), Some(&StopReason::Reset));
        assert!(machine.exits() > 8);
    }
}

#[test]
fn a_triple_fault_is_a_reset() {
    let Some(kvm) = kvm() else { return };
    let (_output, end) = console();
    // ud2, without any interrupt descriptor
    let mut machine = machine(kvm, &[0x0f, 0x0b], Entry::Pvh, 1, end);
    machine.resume();
    wait_for(machine.stop().event());
    assert_eq!(machine.stop_reason(), Some(&StopReason::Reset));
}

#[test]
fn registers_of_devices_are_read_and_empty_addresses_are_all_ones() {
    let Some(kvm) = kvm() else { return };
    let (mut output, end) = console();
    let mut code = Vec::new();
    let magic = u32::from_le_bytes(*b"virt");
    let device = Slot::Entropy.address() as u32;
    for (address, expected) in [(device, magic), (device + 0x100, 0x5a5a_5a5a), (Slot::Net.address() as u32, u32::MAX)]
    {
        // mov eax, [ADDRESS]; cmp eax, EXPECTED; je +1; hlt
        code.push(0xa1);
        code.extend(address.to_le_bytes());
        code.push(0x3d);
        code.extend(expected.to_le_bytes());
        code.extend([0x74, 0x01, 0xf4]);
    }
    code.extend(print("as expected\n"));
    code.extend(RESET);
    let mut machine = machine(kvm, &code, Entry::Pvh, 1, end);
    machine.resume();
    assert_eq!(line(&mut output), "as expected\n");
}

#[test]
fn a_notification_reaches_its_queue_and_no_other_value_does() {
    let Some(kvm) = kvm() else { return };
    let (mut output, end) = console();
    let mut code = Vec::new();
    for value in [1_u32, 0] {
        // mov dword [ADDRESS], VALUE
        code.extend([0xc7, 0x05]);
        code.extend((Slot::Entropy.address() as u32 + 0x50).to_le_bytes());
        code.extend(value.to_le_bytes());
        code.extend(print("told\n"));
    }
    code.extend(RESET);
    let mut machine = machine(kvm, &code, Entry::Pvh, 1, end);
    let event = machine.transports()[0].1.lock().unwrap().queue_events()[0].try_clone().unwrap();
    machine.resume();
    assert_eq!((line(&mut output), line(&mut output)), ("told\n".to_owned(), "told\n".to_owned()));
    wait_for(&event);
    assert_eq!(event.read().unwrap(), 1);
}

/// Sets up segments, one interrupt gate and the interrupt controller for line 3; then waits for interrupts, each of
/// which prints a line.
fn interrupt_guest() -> Vec<u8> {
    const TABLES: u32 = DATA;
    const VECTOR: u32 = 0x23;
    const HANDLER: u32 = CODE + 0x200;
    let mut code = Vec::new();
    // lgdt [TABLES]; lidt [TABLES + 8]; mov esp, TABLES + 0x2000
    code.extend([0x0f, 0x01, 0x15]);
    code.extend(TABLES.to_le_bytes());
    code.extend([0x0f, 0x01, 0x1d]);
    code.extend((TABLES + 8).to_le_bytes());
    code.push(0xbc);
    code.extend((TABLES + 0x2000).to_le_bytes());
    // The first controller: initialise, vectors from 0x20, all lines masked but 3.
    for (port, value) in [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xf7)] {
        code.extend([0xb0, value, 0xe6, port]);
    }
    code.extend(print("ready\n"));
    // sti; hlt; jmp to hlt
    let wait = code.len();
    code.extend([0xfb, 0xf4, 0xeb, 0xfd]);
    code.resize(0x200, 0xf4);
    code.extend(print("interrupt\n"));
    // mov al, 0x20; out 0x20, al; add esp, 12; jmp to sti. No iret: an emulated KVM does not know it.
    code.extend([0xb0, 0x20, 0xe6, 0x20, 0x83, 0xc4, 0x0c, 0xe9]);
    let back = wait as i32 - (code.len() as i32 + 4);
    code.extend(back.to_le_bytes());
    code.resize(0x1000, 0);
    let (gdt, idt) = (TABLES + 0x100, TABLES + 0x200);
    for (limit, base) in [(0x1f_u16, gdt), (0x7ff, idt)] {
        code.extend(limit.to_le_bytes());
        code.extend(base.to_le_bytes());
        code.extend([0, 0]);
    }
    code.resize(0x1100, 0);
    for segment in [0, 0, 0x00cf_9b00_0000_ffff_u64, 0x00cf_9300_0000_ffff] {
        code.extend(segment.to_le_bytes());
    }
    code.resize(0x1200 + VECTOR as usize * 8, 0);
    let gate = u64::from(HANDLER & 0xffff) | 0x10 << 16 | 0x8e00 << 32 | u64::from(HANDLER >> 16) << 48;
    code.extend(gate.to_le_bytes());
    code
}

#[test]
fn an_eventfd_interrupts_a_guest_that_waits() {
    let Some(kvm) = kvm() else { return };
    let (mut output, end) = console();
    let mut machine = machine(kvm, &interrupt_guest(), Entry::Pvh, 1, end);
    let event = EventFd::new(EFD_NONBLOCK).unwrap();
    machine.vm().register_irqfd(&event, 3).unwrap();
    machine.resume();
    assert_eq!(line(&mut output), "ready\n");
    for _ in 0..3 {
        event.write(1).unwrap();
        assert_eq!(line(&mut output), "interrupt\n");
    }
    // A guest that waits can be brought to rest, and an interrupt from then is there when it goes on.
    machine.pause();
    event.write(1).unwrap();
    machine.resume();
    assert_eq!(line(&mut output), "interrupt\n");
    assert_eq!(machine.stop_reason(), None);
}

#[test]
fn a_guest_at_rest_does_nothing_and_goes_on_where_it_was() {
    let Some(kvm) = kvm() else { return };
    let (mut output, end) = console();
    // mov ecx, 1000; inc dword [DATA]; loop; print; jmp to the begin
    let mut code = vec![0xb9, 0xe8, 0x03, 0, 0, 0xff, 0x05];
    code.extend(DATA.to_le_bytes());
    code.extend([0xe2, 0xf8]);
    code.extend(print("again\n"));
    let back = -(code.len() as i32 + 5);
    code.push(0xe9);
    code.extend(back.to_le_bytes());
    let mut machine = machine(kvm, &code, Entry::Pvh, 1, end);
    let counter = |machine: &Machine| machine.memory().read_obj::<u32>(GuestAddress(DATA.into())).unwrap();
    assert_eq!(counter(&machine), 0);
    let (mut before, mut lines) = (0, 0);
    for _ in 0..20 {
        machine.resume();
        // Line N is written after N thousand rounds: read up to one that can only come from now on.
        while lines * 1000 <= before {
            assert_eq!(line(&mut output), "again\n");
            lines += 1;
        }
        machine.pause();
        let (instruction, count) = (machine.vcpus().next().unwrap().get_regs().unwrap().rip, counter(&machine));
        assert!(count > before, "{count} is not more than {before}");
        assert!((CODE..CODE + 0x1000).contains(&(instruction as u32)), "{instruction:#x}");
        assert_eq!(counter(&machine), count);
        before = count;
    }
    assert_eq!(machine.stop_reason(), None);
}

#[test]
fn a_machine_that_never_ran_or_still_runs_can_be_dropped() {
    for resume in [false, true] {
        let Some(kvm) = kvm() else { return };
        let (_output, end) = console();
        // jmp to itself
        let mut machine = machine(kvm, &[0xeb, 0xfe], Entry::Pvh, 6, end);
        if resume {
            machine.resume();
            machine.pause();
            machine.resume();
        }
        drop(machine);
    }
}
