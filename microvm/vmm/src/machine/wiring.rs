//! Puts the devices where guests find them: on the buses, with KVM's short cuts. A queue's notification is an
//! ioeventfd, so it stops no vCPU for longer than that; an interrupt is an irqfd, so it wakes nobody here.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use kvm_ioctls::{IoEventAddress, VmFd};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{During, MachineError, Stop};
use crate::bus::{Bus, BusDevice};
use crate::devices::reset_line::ResetLine;
use crate::devices::serial::{self, Console};
use crate::devices::virtio::VirtioDevice;
use crate::devices::virtio::transport::{QUEUE_NOTIFY_OFFSET, Transport};
use crate::layout::{I8042_PORT, MMIO_STRIDE, SERIAL_IRQ, SERIAL_PORT, Slot};
use crate::memory::GuestMemory;

/// Ports of the keyboard controller.
const I8042_PORTS: u64 = 5;

/// Devices as they are given to a machine.
#[derive(Default)]
pub struct Fitted {
    /// The virtio devices, each once.
    pub virtio: Vec<(Slot, Box<dyn VirtioDevice>)>,
    /// Where the serial console's output goes, if there is one.
    pub console: Option<OwnedFd>,
}

/// Devices in their places.
pub(super) struct Wired {
    pub(super) memory_bus: Bus,
    pub(super) port_bus: Bus,
    pub(super) transports: Vec<(Slot, Arc<Mutex<Transport>>)>,
}

/// Wires them to `vm`.
pub(super) fn wire(fitted: Fitted, vm: &VmFd, memory: &GuestMemory, stop: &Arc<Stop>) -> Result<Wired, MachineError> {
    let mut wired = Wired { memory_bus: Bus::default(), port_bus: Bus::default(), transports: Vec::new() };
    let reset = Arc::new(Mutex::new(ResetLine::new(Arc::clone(stop))));
    insert(&mut wired.port_bus, I8042_PORT.into(), I8042_PORTS, reset)?;
    if let Some(output) = fitted.console {
        let line = interrupt(vm, SERIAL_IRQ)?;
        let console = Console::new(output, move || raise(&line)).during("making the serial console")?;
        insert(&mut wired.port_bus, SERIAL_PORT.into(), serial::PORTS, Arc::new(Mutex::new(console)))?;
    }
    for (slot, device) in fitted.virtio {
        let line = Arc::new(interrupt(vm, slot.irq())?);
        let transport = Transport::new(device, memory.clone(), line).during("making a device's events")?;
        for (queue, event) in transport.queue_events().iter().enumerate() {
            let address = IoEventAddress::Mmio(slot.address() + QUEUE_NOTIFY_OFFSET);
            vm.register_ioevent(event, &address, queue as u32).during("wiring a queue's notification")?;
        }
        let transport = Arc::new(Mutex::new(transport));
        insert(&mut wired.memory_bus, slot.address(), MMIO_STRIDE, Arc::clone(&transport) as _)?;
        wired.transports.push((slot, transport));
    }
    wired.transports.sort_by_key(|(slot, _)| *slot);
    Ok(wired)
}

fn insert(bus: &mut Bus, start: u64, length: u64, device: Arc<Mutex<dyn BusDevice>>) -> Result<(), MachineError> {
    bus.insert(start, length, device).map_err(io::Error::other).during("placing a device")
}

fn raise(line: &EventFd) {
    // Fails only when its counter is full, and then the line is raised already.
    let _ = line.write(1);
}

/// An event that raises interrupt line `line`.
fn interrupt(vm: &VmFd, line: u32) -> Result<EventFd, MachineError> {
    let event = EventFd::new(EFD_NONBLOCK).during("making an interrupt's event")?;
    vm.register_irqfd(&event, line).during("wiring an interrupt")?;
    Ok(event)
}
