//! A machine: KVM's VM, its memory, vCPUs and devices, and the threads that run it.
//!
//! ```text
//!  create ──▶ at rest ──resume──▶ running ──pause──▶ at rest …      any ──▶ stopped (guest reset, KVM gave up)
//! ```
//!
//! It is made at rest, with what all machines have in common; then its vCPUs get registers, from a boot image's
//! [`VcpuStart`] or from a snapshot, and only then does it run. Interrupt controllers, timers and clocks are KVM's.
//! There is no PIT: the local APIC's deadline timer needs none for its calibration, and Linux looks for none then.
//!
//! Invariants: while a machine is at rest no vCPU thread touches guest memory, devices or registers · a stopped machine
//! never runs again.

mod cpuid;
mod gate;
mod msr;
mod registers;
mod state;
mod stop;
mod vcpu;
mod wiring;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use seccompiler::BpfProgram;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

pub use stop::Stop;
pub use wiring::Fitted;

use self::cpuid::Template;
use self::gate::Gate;
use self::vcpu::{Surroundings, Vcpu};
use crate::boot::VCPUS_MAX;
use crate::control::{StopReason, VcpuStart};
use crate::devices::virtio::transport::{self, Transport};
use crate::layout::{IDENTITY_MAP, Slot, TSS};
use crate::memory::{self, GuestMemory, MEMORY_MAX_MIB, MEMORY_MIN_MIB, Mapping};
use crate::snapshot::StateError;
use crate::sys;

/// Version of KVM's interface: the only one there has ever been.
const KVM_API: i32 = 12;

/// A VM with nothing in it, made ahead of time: where nothing else has the machine's processors busy, KVM takes longest
/// for this (a kernel thread joins the caller's control groups, which waits for a grace period of RCU).
pub struct Prepared {
    kvm: Kvm,
    vm: VmFd,
}

impl Prepared {
    /// From `/dev/kvm`.
    pub fn new(device: OwnedFd) -> Result<Self, MachineError> {
        let kvm = sys::handed::kvm(device);
        if kvm.get_api_version() != KVM_API {
            return Err(MachineError::Kvm("KVM interface 12"));
        }
        let vm = kvm.create_vm().during("creating the VM")?;
        Ok(Self { kvm, vm })
    }
}

/// What a machine is made of.
pub struct Parts {
    /// The VM.
    pub vm: Prepared,
    /// The file that is its memory.
    pub memory: File,
    /// Its size, MiB, [`MEMORY_MIN_MIB`] to [`MEMORY_MAX_MIB`].
    pub memory_mib: u32,
    /// Where its writes go.
    pub mapping: Mapping,
    /// Whether to ask for huge pages.
    pub huge_pages: bool,
    /// vCPUs, 1 to [`VCPUS_MAX`].
    pub vcpus: u8,
    /// Whether its guest has ACPI, and so can be told that it was restored.
    pub acpi: bool,
    /// Where its first vCPU starts; absent if all of them get their state from a snapshot.
    pub start: Option<VcpuStart>,
    /// Its devices.
    pub devices: Fitted,
    /// What system calls a vCPU's thread may make; any if `None`.
    pub vcpu_filter: Option<BpfProgram>,
}

/// A machine did not come about.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// It can't be.
    #[error(
        "a machine has {MEMORY_MIN_MIB} to {MEMORY_MAX_MIB} MiB and 1 to {VCPUS_MAX} vCPUs, not {memory_mib} and {vcpus}"
    )]
    Size {
        /// Memory asked for, MiB.
        memory_mib: u32,
        /// vCPUs asked for.
        vcpus: u8,
    },
    /// This is no KVM that will do.
    #[error("this KVM has no {0}: run a newer kernel (5.10 or later has all that is needed)")]
    Kvm(&'static str),
    /// KVM refused.
    #[error("{step}: {source}")]
    Refused {
        /// To do what.
        step: &'static str,
        /// KVM's word.
        source: kvm_ioctls::Error,
    },
    /// The operating system refused.
    #[error("{step}: {source}")]
    System {
        /// To do what.
        step: &'static str,
        /// Its word.
        source: io::Error,
    },
    /// KVM would not give or take a machine's state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A device would not.
    #[error(transparent)]
    DeviceState(#[from] transport::StateError),
    /// A snapshot is of a machine with other devices.
    #[error("the snapshot has the devices {snapshot:?}, the machine {machine:?}: restore with those it had")]
    OtherDevices {
        /// In the snapshot.
        snapshot: Vec<Slot>,
        /// In the machine.
        machine: Vec<Slot>,
    },
}

/// Says what KVM was asked to do.
trait During<T> {
    fn during(self, step: &'static str) -> Result<T, MachineError>;
}

impl<T> During<T> for Result<T, kvm_ioctls::Error> {
    fn during(self, step: &'static str) -> Result<T, MachineError> {
        self.map_err(|source| MachineError::Refused { step, source })
    }
}

impl<T> During<T> for io::Result<T> {
    fn during(self, step: &'static str) -> Result<T, MachineError> {
        self.map_err(|source| MachineError::System { step, source })
    }
}

/// See the module. Dropping it ends its threads.
pub struct Machine {
    vcpus: Vec<Vcpu>,
    around: Arc<Surroundings>,
    transports: Vec<(Slot, Arc<Mutex<Transport>>)>,
    kvm: Kvm,
    vm: VmFd,
    memory: GuestMemory,
    memory_mib: u32,
    acpi: bool,
    is_running: bool,
}

impl Machine {
    /// Makes it, at rest. Without [`Parts::start`] its vCPUs are as KVM made them.
    pub fn create(parts: Parts) -> Result<Self, MachineError> {
        let (memory_mib, vcpus) = (parts.memory_mib, parts.vcpus);
        if !(MEMORY_MIN_MIB..=MEMORY_MAX_MIB).contains(&memory_mib) || !(1..=VCPUS_MAX).contains(&vcpus) {
            return Err(MachineError::Size { memory_mib, vcpus });
        }
        let Prepared { kvm, vm } = parts.vm;
        let memory = memory::map(&parts.memory, memory_mib, parts.mapping).during("mapping guest memory")?;
        if parts.huge_pages {
            memory::prefer_huge_pages(&memory).during("asking for huge pages")?;
        }
        sys::memory::give(&vm, &memory).during("giving the VM its memory")?;
        vm.set_identity_map_address(IDENTITY_MAP).during("setting the identity map")?;
        vm.set_tss_address(TSS as usize).during("setting the TSS")?;
        vm.create_irq_chip().during("creating interrupt controllers")?;
        if !vm.check_extension(Cap::X86MsrFilter) {
            return Err(MachineError::Kvm("filter for model-specific registers"));
        }
        msr::confine(&vm).during("filtering model-specific registers")?;

        let create = |id: u8| vm.create_vcpu(id.into()).during("creating a vCPU");
        let vcpus = (0..vcpus).map(create).collect::<Result<Vec<_>, _>>()?;
        if let Some(start) = parts.start {
            set_start(&kvm, &vcpus, start)?;
        }
        let stop = Arc::new(Stop::new().during("making an event")?);
        let wired = wiring::wire(parts.devices, &vm, &memory, &stop)?;
        vcpu::prepare_signal().during("preparing to stop vCPUs")?;
        let around = Surroundings {
            gate: Gate::default(),
            stop,
            memory_bus: wired.memory_bus,
            port_bus: wired.port_bus,
            exits: 0.into(),
            filter: parts.vcpu_filter,
        };
        let mut machine = Self {
            vcpus: vcpus.into_iter().map(Vcpu::new).collect(),
            around: Arc::new(around),
            transports: wired.transports,
            kvm,
            vm,
            memory,
            memory_mib,
            acpi: parts.acpi,
            is_running: false,
        };
        for (index, vcpu) in machine.vcpus.iter_mut().enumerate() {
            vcpu.spawn(index, &machine.around).during("starting a vCPU's thread")?;
        }
        Ok(machine)
    }

    /// Lets the vCPUs run, unless the machine has stopped.
    pub fn resume(&mut self) {
        if self.stop_reason().is_none() {
            self.is_running = true;
            self.around.gate.open();
        }
    }

    /// Returns when no vCPU runs and all exits are complete.
    pub fn pause(&mut self) {
        self.around.gate.close();
        self.vcpus.iter().for_each(Vcpu::kick);
        self.around.gate.wait_until_empty();
        self.is_running = false;
    }

    /// Whether it was let run and not paused since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// How it comes to its end.
    #[must_use]
    pub fn stop(&self) -> &Arc<Stop> {
        &self.around.stop
    }

    /// Why it stopped, if it did.
    #[must_use]
    pub fn stop_reason(&self) -> Option<&StopReason> {
        self.around.stop.reason()
    }

    /// The descriptor of each vCPU, for who reads or sets their state: only while the machine is at rest, because this
    /// waits for a running vCPU.
    pub fn vcpus(&self) -> impl Iterator<Item = MutexGuard<'_, VcpuFd>> {
        self.vcpus.iter().map(Vcpu::fd)
    }

    /// KVM's VM.
    #[must_use]
    pub fn vm(&self) -> &VmFd {
        &self.vm
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Its virtio devices, in the order of their slots.
    #[must_use]
    pub fn transports(&self) -> &[(Slot, Arc<Mutex<Transport>>)] {
        &self.transports
    }

    /// Exits to this process since it was made.
    #[must_use]
    pub fn exits(&self) -> u64 {
        self.around.exits.load(Ordering::Relaxed)
    }

    /// Where its memory is mapped in this process: lower part, upper part or 0.
    #[must_use]
    pub fn memory_mapped_at(&self) -> [u64; 2] {
        let mut parts =
            self.memory.iter().map(|region| region.get_host_address(MemoryRegionAddress(0)).map_or(0, |at| at as u64));
        [parts.next().unwrap_or(0), parts.next().unwrap_or(0)]
    }
}

/// Puts new vCPUs where firmware would have left them, and the first at `start`.
fn set_start(kvm: &Kvm, vcpus: &[VcpuFd], start: VcpuStart) -> Result<(), MachineError> {
    let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).during("asking for CPU features")?;
    let template = Template::new(&supported, vcpus.len() as u8);
    for (id, vcpu) in vcpus.iter().enumerate() {
        vcpu.set_cpuid2(&template.of(id as u8).during("composing CPU features")?).during("setting CPU features")?;
        registers::set_firmware_state(vcpu, template.extended_states()).during("setting registers")?;
    }
    let mut first = vcpus.first().into_iter();
    first.try_for_each(|first| registers::set_start(first, start)).during("setting the first registers")
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.around.gate.end();
        self.vcpus.iter().for_each(Vcpu::kick);
        self.vcpus.iter_mut().for_each(Vcpu::join);
    }
}
