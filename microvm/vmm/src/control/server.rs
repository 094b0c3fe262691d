//! The life of a `hearth-vmm`: requests of its launcher in, answers and the machine's end out.
//!
//! ```text
//!  Hello ──▶ Boot | Restore ──▶ Resume, Pause, AttachCode, SetBalloon, Stats … ──▶ Stop, or the launcher is gone
//!                     │ then confined by seccomp                        └─▶ the machine stopped: told, then the end
//! ```
//!
//! What can't be done is an answer, not an end. The launcher is trusted, but not to be without mistakes: each request
//! is checked as if it were not.

mod snapshot;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;

use super::{
    Boot, CONTROL_FD, Event, FdIndex, FromVmm, MemoryFile, Packet, Reply, Request, VERSION, VcpuStart, VmmStats,
    receive, send,
};
use crate::confinement::{self, Thread};
use crate::devices::fitting::{self, Descriptors};
use crate::devices::virtio::VirtioDevice;
use crate::devices::virtio::balloon::Balloon;
use crate::devices::virtio::block::{AttachError, Block};
use crate::event_loop::{EventLoop, Ready};
use crate::layout::Slot;
use crate::machine::{Machine, MachineError, Parts, Prepared};
use crate::snapshot::prefetch;
use crate::sys;

/// Serves the control socket that this process was started with, until its end: `hearth-vmm`'s `main`.
///
/// # Errors
///
/// The control socket or the event loop failed; what a request does wrong is answered.
pub fn serve() -> io::Result<()> {
    let control = sys::handed::inherited(CONTROL_FD).ok_or(io::ErrorKind::AlreadyExists)?;
    let events = EventLoop::new(&control)?;
    match (Server { control, events, prepared: None, machine: None, given_up: None }).run() {
        // The launcher is gone, and with it whoever could want to know.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        served => served,
    }
}

struct Server {
    control: OwnedFd,
    events: EventLoop,
    /// The VM that came with the greeting, until it is a machine.
    prepared: Option<Prepared>,
    machine: Option<Machine>,
    /// The machine of which there is a snapshot: it never runs again.
    given_up: Option<Machine>,
}

/// Why a request is not done; goes into [`Reply::Failed`].
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is a machine already")]
    HasMachine,
    #[error("there is no machine yet")]
    NoMachine,
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("the machine has no device {0:?}: make it with one")]
    NoDevice(Slot),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Device(#[from] fitting::Misfit),
    #[error("confining the process: {0}")]
    Confinement(#[from] confinement::Failure),
    #[error("the event loop: {0}")]
    Events(#[from] io::Error),
    #[error("the snapshot can't be used: {0}")]
    Snapshot(#[from] crate::snapshot::Refusal),
    #[error("the snapshot is of a machine with {snapshot} MiB, not {machine}")]
    OtherMemory { snapshot: u32, machine: u32 },
    #[error("the machine runs: pause it first")]
    Running,
    #[error("the state can't be written: {0}")]
    Write(io::Error),
}

impl Server {
    fn run(mut self) -> io::Result<()> {
        loop {
            match self.events.run()? {
                Ready::Stopped => return self.tell_end(),
                Ready::Control => {
                    let Some(Packet { message, descriptors }) = receive(&self.control)? else { return Ok(()) };
                    if message == Request::Stop {
                        return Ok(());
                    }
                    let mut descriptors = Descriptors::from(descriptors);
                    if let Request::Hello { kvm, .. } = message {
                        send(&self.control, &FromVmm::Reply(Reply::Hello { version: VERSION }), &[])?;
                        self.prepare(kvm, &mut descriptors);
                        continue;
                    }
                    let reply = self.answer(message, descriptors);
                    let reply = reply.unwrap_or_else(|refusal| Reply::Failed { reason: refusal.to_string() });
                    send(&self.control, &FromVmm::Reply(reply), &[])?;
                }
            }
        }
    }

    fn tell_end(&self) -> io::Result<()> {
        match self.machine.as_ref().and_then(Machine::stop_reason) {
            Some(reason) => send(&self.control, &FromVmm::Event(Event::Stopped(reason.clone())), &[]),
            None => Ok(()),
        }
    }

    fn answer(&mut self, request: Request, mut descriptors: Descriptors) -> Result<Reply, Refusal> {
        match request {
            Request::Boot(boot) => self.boot(&boot, &mut descriptors)?,
            Request::Restore(restore) => self.restore(&restore, &mut descriptors)?,
            Request::Snapshot { state } => self.snapshot(state, &mut descriptors)?,
            Request::Resume => self.machine()?.resume(),
            Request::Pause => self.machine()?.pause(),
            Request::AttachCode { image } => {
                let image = descriptors.take(image)?;
                self.with(Slot::Code, |drive: &mut Block| drive.attach(image.into()))??;
            }
            Request::SetBalloon { mib } => self.with(Slot::Balloon, |balloon: &mut Balloon| balloon.set_target(mib))?,
            Request::Stats => return self.stats().map(Reply::Stats),
            // Theirs is the loop that calls this.
            Request::Hello { .. } | Request::Stop => {}
        }
        self.events.follow_all()?;
        Ok(Reply::Done)
    }

    /// Makes the VM ahead of the request for a machine. Should it fail, that request will try again and tell.
    fn prepare(&mut self, kvm: Option<FdIndex>, descriptors: &mut Descriptors) {
        let device = kvm.and_then(|kvm| descriptors.take(kvm).ok());
        self.prepared = device.and_then(|device| Prepared::new(device).ok());
    }

    fn machine(&mut self) -> Result<&mut Machine, Refusal> {
        self.machine.as_mut().ok_or(Refusal::NoMachine)
    }

    fn boot(&mut self, boot: &Boot, descriptors: &mut Descriptors) -> Result<(), Refusal> {
        let kind = (boot.vcpus, boot.acpi, Some(boot.start));
        let machine = self.create(kind, boot.kvm, boot.memory, &boot.devices, descriptors)?;
        prefetch::bring_in(machine.memory(), boot.memory.mib, &boot.prefetch);
        self.keep(machine, boot.resume)
    }

    fn create(
        &mut self,
        (vcpus, acpi, start): (u8, bool, Option<VcpuStart>),
        kvm: FdIndex,
        memory: MemoryFile,
        devices: &super::Devices,
        descriptors: &mut Descriptors,
    ) -> Result<Machine, Refusal> {
        if self.machine.is_some() || self.given_up.is_some() {
            return Err(Refusal::HasMachine);
        }
        let kvm = descriptors.take(kvm)?;
        let parts = Parts {
            vm: self.prepared.take().map_or_else(|| Prepared::new(kvm), Ok)?,
            memory: File::from(descriptors.take(memory.file)?),
            memory_mib: memory.mib,
            mapping: memory.mapping,
            huge_pages: memory.huge_pages,
            vcpus,
            acpi,
            start,
            devices: fitting::fit(devices, descriptors)?,
            vcpu_filter: Some(confinement::filter(Thread::Vcpu)?),
        };
        Ok(Machine::create(parts)?)
    }

    fn keep(&mut self, mut machine: Machine, resume: bool) -> Result<(), Refusal> {
        self.events.add_machine(&machine)?;
        confinement::confine(Thread::Main)?;
        if resume {
            machine.resume();
        }
        self.machine = Some(machine);
        Ok(())
    }

    fn stats(&mut self) -> Result<VmmStats, Refusal> {
        let machine = self.machine()?;
        let (memory_mapped_at, exits) = (machine.memory_mapped_at(), machine.exits());
        let balloon = self.with(Slot::Balloon, |device: &mut Balloon| (device.held_mib(), device.reported_bytes()));
        let (balloon_mib, reported_bytes) = balloon.unwrap_or_default();
        let drives = [Slot::Root, Slot::Code].map(|slot| self.with(slot, |drive: &mut Block| drive.bytes_read()));
        let drive_bytes = drives.into_iter().flatten().sum();
        Ok(VmmStats { memory_mapped_at, balloon_mib, reported_bytes, drive_bytes, exits })
    }

    /// Has `work` do something with the device in `slot`.
    fn with<D: VirtioDevice, T>(&mut self, slot: Slot, work: impl FnOnce(&mut D) -> T) -> Result<T, Refusal> {
        let machine = self.machine()?;
        let transport = machine.transports().iter().find(|(at, _)| *at == slot).map(|(_, transport)| transport);
        let mut transport = transport.ok_or(Refusal::NoDevice(slot))?.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(work(transport.device().ok_or(Refusal::NoDevice(slot))?))
    }
}
