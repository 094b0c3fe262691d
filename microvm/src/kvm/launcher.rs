//! Boots and restores microVMs, and removes what an earlier launcher left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_vmm::boot::VCPUS_MAX;
use hearth_vmm::control::{Boot, Devices, Drive, MemoryFile, Request, Restore};
use hearth_vmm::layout::Slot;
use hearth_vmm::memory::{MEMORY_MAX_MIB, MEMORY_MIN_MIB, Mapping};
use hearth_vmm::snapshot::{BUILD, Draft, HostCpu};
use tokio::net::UnixStream;

use super::boot_images::{BootImages, Kind};
use super::command_line::{FirstProcess, command_line};
use super::control::{ControlError, DISK_TIMEOUT, Parcel};
use super::images::Images;
use super::machine::{Machine, Size};
use super::manifest::{Kernel, Manifest};
use super::origin::Origin;
use super::snapshots::{Drives, Loaded, Snapshots};
use super::spares::Spares;
use super::starter::{Settings, Starter};
use super::{KvmConfig, KvmError, filter};
use crate::cgroup::{Berth, Controller, Layout, Parent};
use crate::ids::Ids;
use crate::image;
use crate::jail::unenforced::{self, CPU_SHARE};
use crate::jail::{USER, own_ids, processes_limited_by_resource};
use crate::leftovers;
use crate::sandbox::{
    BootError, BootSpec, GuestImage, Isolation, Launcher, RestoreError, RestoreSpec, Sandbox, SandboxError, Unenforced,
    check_id,
};
use crate::state::State;
use crate::sys;
use crate::sys::spawn::SpawnError;
use crate::thread::Thread;

/// The devices of every machine: no network, as there is none in a jail.
const SLOTS: [Slot; 5] = [Slot::Vsock, Slot::Root, Slot::Code, Slot::Entropy, Slot::Balloon];
/// Thousandths of a CPU that one vCPU is.
const MILLI_CPUS_PER_VCPU: u32 = 1_000;
const BYTES_PER_MIB: u64 = 1 << 20;
/// So long the start of another process waits for a machine's first word.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(1);
/// What the image of a directory of code is called: this behind its name.
const CODE_IMAGE_SUFFIX: &str = ".erofs";

/// Boots programs in microVMs. While one lives it has its state directory for itself.
pub struct KvmLauncher {
    config: KvmConfig,
    kernel: Kernel,
    kvm: Arc<File>,
    boot_images: BootImages,
    images: Arc<Images>,
    spares: Arc<Spares>,
    shared: Arc<Shared>,
    controllers: Vec<Controller>,
    only_own_user: bool,
}

/// What machines need while they live.
pub(super) struct Shared {
    pub(super) state: Arc<State>,
    pub(super) undertaker: Arc<Thread<()>>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) cpus: Option<String>,
    /// Its end would end every machine: it is their parent.
    _starter: Arc<Thread<Starter>>,
}

/// Why there is no machine. Nothing of it is left.
enum Failure {
    /// A step failed.
    Step(&'static str, io::Error),
    /// Its `hearth-vmm` would not make it.
    Refused(String),
}

impl KvmLauncher {
    /// Prepares what all machines share, and starts a first `hearth-vmm`: what could keep every machine from being is
    /// found here.
    pub fn new(config: KvmConfig) -> Result<Self, KvmError> {
        let failed = |step: &'static str| move |source: io::Error| KvmError::Prepare { step, source };
        let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm").map_err(KvmError::Device)?;
        let program = File::open(&config.vmm).map_err(|source| KvmError::Vmm { path: config.vmm.clone(), source })?;
        let guest_images = std::path::absolute(&config.guest_images).map_err(failed("find the guest images"))?;
        let manifest = Manifest::read(&guest_images)?;
        let images = Arc::new(Images::open(&guest_images, &manifest).map_err(failed("open the guest images"))?);
        let kernel = config.kernel.clone().unwrap_or_else(|| manifest.kernel.below(&guest_images));
        let host = host_cpu(&kvm)?;
        let state = Arc::new(State::open(&config.state_dir).map_err(failed("take the state directory"))?);
        let layout = Layout::of_this_process().map_err(failed("look for cgroups"))?;
        let below = config.cgroup_parent.as_deref();
        state.write_groups(&Parent::paths(&layout, below, state.owner())).map_err(failed("write down cgroups"))?;
        let parent = Arc::new(Parent::create(&layout, below, state.owner()));
        let controllers = parent.controllers();
        let ids = Arc::new(match own_ids().map_err(failed("read user ids"))? {
            None => Ids::of_host(config.first_uid, &config.lock_dir).map_err(failed("take user ids"))?,
            Some(ids) => Ids::of_namespace(ids),
        });
        let only_own_user = ids.only_own();
        let filter = filter::program().map_err(io::Error::other).map_err(failed("make a seccomp filter"))?;
        let limit_threads = !controllers.contains(&Controller::Pids) && processes_limited_by_resource();
        let kvm = Arc::new(kvm);
        let settings = Settings { cpus: config.cpus.clone(), limit_threads, kvm: Arc::clone(&kvm) };
        let (starter_state, spares_state) = (Arc::clone(&state), Arc::clone(&state));
        let make = move || {
            let starter = Starter::new(program.into(), filter, starter_state, ids, Berth::new(parent), settings);
            starter.map_err(|error| SpawnError::new("prepare an empty root", error))
        };
        let spares = Spares::start(make, spares_state, config.spares)
            .map_err(|SpawnError { step, source }| KvmError::Start { step, source })?;
        spares.refill();
        let spares = Arc::new(spares);
        let undertaker =
            Thread::start("vmm-undertaker", || Ok::<_, io::Error>(())).map_err(failed("start a thread"))?;
        let snapshots = Arc::new(Snapshots::new(host, Arc::clone(&images)));
        let boot_images = BootImages::new(state.directory().to_owned());
        let (cpus, starter) = (config.cpus.clone(), spares.parent());
        let undertaker = Arc::new(undertaker);
        let shared = Arc::new(Shared { state, undertaker, snapshots, cpus, _starter: starter });
        Ok(Self { config, kernel, kvm, boot_images, images, spares, shared, controllers, only_own_user })
    }

    async fn boot_machine(&self, spec: &BootSpec) -> Result<Machine, Failure> {
        let size = size(spec).map_err(at("check its size"))?;
        let image = spec.image.clone().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, NO_IMAGE));
        let image = image.map_err(at("check its image"))?;
        self.images.get(&image).map_err(at("check its image"))?;
        let kind = self.kind(spec, size).map_err(at("write its command line"))?;
        let boot_image = self.boot_images.get(&kind).await.map_err(at("make its boot image"))?;
        let origin = Origin::Boot { image: boot_image, acpi: kind.acpi, memory_mib: size.memory_mib };
        let drives = Drives { image, code: None };
        self.machine(&spec.id, (size, spec.limits.milli_cpus), drives, origin, spec.snapshot_into.as_deref()).await
    }

    async fn restore_machine(&self, spec: &RestoreSpec, loaded: Arc<Loaded>) -> Result<Machine, Failure> {
        let size = Size { memory_mib: loaded.snapshot.memory_mib(), vcpus: loaded.snapshot.vcpus() };
        let drives = Drives { image: loaded.image.clone(), code: loaded.code_path() };
        let origin = Origin::Snapshot(loaded);
        self.machine(&spec.id, (size, spec.limits.milli_cpus), drives, origin, spec.snapshot_into.as_deref()).await
    }

    async fn machine(
        &self,
        id: &str,
        (size, milli_cpus): (Size, u32),
        drives: Drives,
        origin: Origin,
        snapshot_into: Option<&Path>,
    ) -> Result<Machine, Failure> {
        let draft = self.draft(snapshot_into, &origin).await.map_err(at("prepare its snapshot"))?;
        let vmm = self.spares.take().await.map_err(|SpawnError { step, source }| {
            Failure::Step("start hearth-vmm", io::Error::new(source.kind(), format!("{step}: {source}")))
        })?;
        let shared = Arc::clone(&self.shared);
        let mut machine = Machine::claim(id.to_owned(), vmm, size, milli_cpus, drives, shared)
            .map_err(|(step, source)| Failure::Step(step, source))?;
        machine.draft = draft;
        let made = self.make(&mut machine, &origin).await;
        self.refill_after(machine.channel.as_ref());
        made?;
        // What is to be a snapshot writes to its file, whose pages tell nothing.
        machine.origin = machine.draft.is_none().then_some(origin);
        Ok(machine)
    }

    /// Has the next process started when this machine has said its first word, or has had time to: what somebody waits
    /// for comes before what waits for nothing.
    fn refill_after(&self, channel: Option<&UnixStream>) {
        let word = channel.and_then(|channel| channel.as_fd().try_clone_to_owned().and_then(sys::event::watch).ok());
        let Some(word) = word else { return self.spares.refill() };
        let spares = Arc::downgrade(&self.spares);
        tokio::spawn(async move {
            // The channel's own reader is somebody else; here nothing is read.
            let _ = tokio::time::timeout(FIRST_WORD_TIMEOUT, word.readable()).await;
            if let Some(spares) = spares.upgrade() {
                spares.refill();
            }
        });
    }

    /// Has the process make and run its machine.
    async fn make(&self, machine: &mut Machine, origin: &Origin) -> Result<(), Failure> {
        let (ours, theirs) = channel().map_err(at("make its channel"))?;
        let console = self.console(machine.name()).map_err(at("open its console's file"))?;
        let root = self.images.get(&machine.drives.image).map_err(at("find its image"))?;
        let mut parcel = Parcel::default();
        let kvm = parcel.add(&self.kvm);
        let (file, mapping) = match &machine.draft {
            Some(draft) => (draft.memory(), Mapping::Shared),
            None => (origin.memory(), Mapping::Private),
        };
        let (mib, huge_pages) = (machine.size.memory_mib, self.config.huge_pages);
        let memory = MemoryFile { file: parcel.add(file), mib, mapping, huge_pages };
        let drive =
            |image| Drive { image, bandwidth: self.config.drive_bandwidth, requests: self.config.drive_requests };
        let devices = Devices {
            serial: console.as_ref().map(|console| parcel.add(console)),
            channel: Some(parcel.add(&theirs)),
            root: Some(drive(Some(parcel.add(&root.file)))),
            code: Some(drive(origin.code().map(|code| parcel.add(code)))),
            entropy: true,
            balloon: true,
            net: None,
        };
        let prefetch = origin.prefetch();
        let request = match origin {
            Origin::Boot { image, acpi, .. } => {
                let (vcpus, start) = (machine.size.vcpus, image.start);
                Request::Boot(Boot { vcpus, memory, start, acpi: *acpi, devices, prefetch, resume: true, kvm })
            }
            Origin::Snapshot(loaded) => {
                let state = parcel.add(loaded.snapshot.state());
                Request::Restore(Restore { state, memory, devices, prefetch, resume: true, kvm })
            }
        };
        match machine.control.ask(&request, parcel, DISK_TIMEOUT).await {
            Ok(()) => {}
            Err(ControlError::Refused(reason)) => return Err(Failure::Refused(reason)),
            Err(error) => return Err(Failure::Step("make the machine", machine.told(error))),
        }
        machine.channel = Some(UnixStream::from_std(ours).map_err(at("watch its channel"))?);
        Ok(())
    }

    async fn draft(&self, into: Option<&Path>, origin: &Origin) -> io::Result<Option<Draft>> {
        let Some(into) = into.map(std::path::absolute).transpose()? else { return Ok(None) };
        let (snapshots, memory) = (Arc::clone(&self.shared.snapshots), origin.memory().try_clone()?);
        let begin = move || snapshots.begin(&into, &memory);
        tokio::task::spawn_blocking(begin).await.map_err(io::Error::other)?.map(Some)
    }

    fn kind(&self, spec: &BootSpec, size: Size) -> io::Result<Kind> {
        let first = FirstProcess { args: &spec.args, env: &spec.env };
        let serial = self.config.console_dir.is_some();
        Ok(Kind {
            kernel: self.kernel.file.clone(),
            acpi: self.kernel.acpi,
            modules: self.kernel.modules.clone(),
            command_line: command_line(first, self.kernel.acpi, serial)?,
            init: spec.init.clone(),
            read_only: spec.read_only.clone(),
            memory_mib: size.memory_mib,
            vcpus: size.vcpus,
            slots: SLOTS.to_vec(),
            serial,
        })
    }

    fn console(&self, id: &str) -> io::Result<Option<File>> {
        let Some(directory) = &self.config.console_dir else { return Ok(None) };
        fs::create_dir_all(directory)?;
        // The end of an earlier machine of this name may be just what is looked for.
        let file = OpenOptions::new().append(true).create(true).open(directory.join(format!("{id}.log")))?;
        Ok(Some(file))
    }
}

#[async_trait]
impl Launcher for KvmLauncher {
    fn isolation(&self) -> Isolation {
        Isolation::Kvm
    }

    fn unenforced(&self) -> Vec<Unenforced> {
        // Memory, processes and files are limited by the machine and its own kernel.
        let mut found = Vec::new();
        if !CPU_SHARE.holds(&self.controllers) {
            found.push(CPU_SHARE.tell());
        }
        if self.only_own_user {
            found.push(unenforced::own_user());
        }
        found
    }

    fn user(&self) -> Option<(u32, u32)> {
        Some(USER)
    }

    fn images(&self) -> Vec<GuestImage> {
        self.images.list()
    }

    fn has_snapshots(&self) -> bool {
        true
    }

    fn snapshots_depend_on(&self) -> String {
        format!("monitor {BUILD} kernel {} images {}", self.kernel.sha256, self.images.identity())
    }

    fn layers_in_code(&self) -> bool {
        true
    }

    fn prepare_code(&self, code: &Path) -> io::Result<PathBuf> {
        let mut name = code.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(CODE_IMAGE_SUFFIX);
        let image = code.with_file_name(&name);
        name.push(".draft");
        let draft = code.with_file_name(name);
        let written = File::create(&draft).and_then(|file| {
            image::write(code, &file, image::Options::default()).map_err(io::Error::other)?;
            fs::rename(&draft, &image)
        });
        match written {
            Ok(()) => Ok(image),
            Err(error) => {
                let _ = fs::remove_file(&draft);
                Err(error)
            }
        }
    }

    async fn boot(&self, spec: BootSpec) -> Result<Box<dyn Sandbox>, BootError> {
        let spec = spec.checked()?;
        match self.boot_machine(&spec).await {
            Ok(machine) => Ok(Box::new(machine)),
            Err(failure) => Err(failure.of(spec.id)),
        }
    }

    async fn restore(&self, spec: RestoreSpec) -> Result<Box<dyn Sandbox>, RestoreError> {
        check_id(&spec.id).map_err(|source| Failure::Step("check", source).of(spec.id.clone()))?;
        let unusable = |reason| RestoreError::Unusable { snapshot: spec.snapshot.clone(), reason };
        let loaded = self.shared.snapshots.get(&spec.snapshot).await.map_err(unusable)?;
        match self.restore_machine(&spec, loaded).await {
            Ok(machine) => Ok(Box::new(machine)),
            Err(Failure::Refused(reason)) => {
                self.shared.snapshots.forget(&spec.snapshot);
                Err(unusable(reason))
            }
            Err(failure) => Err(failure.of(spec.id).into()),
        }
    }

    async fn clean_up(&self) -> Result<usize, SandboxError> {
        let state = Arc::clone(&self.shared.state);
        let id = state.directory().display().to_string();
        let cleaned = self.shared.undertaker.run(move |()| leftovers::clean_up(&state)).await;
        let cleaned = cleaned.and_then(|outcome| outcome);
        cleaned.map_err(|source| SandboxError { id, step: "clean up".to_owned(), source })
    }
}

impl Drop for KvmLauncher {
    fn drop(&mut self) {
        // Machines that were dropped before are gone after.
        self.shared.undertaker.settle();
    }
}

impl Failure {
    fn of(self, id: String) -> BootError {
        match self {
            Self::Step(step, source) => BootError { id, step: step.to_owned(), source },
            Self::Refused(reason) => {
                BootError { id, step: "make the machine".to_owned(), source: io::Error::other(reason) }
            }
        }
    }
}

const NO_IMAGE: &str = "a microVM has no programs of the host's: name one of the launcher's images";

fn at(step: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure::Step(step, source)
}

/// A machine is as large as what it may use, for good.
fn size(spec: &BootSpec) -> io::Result<Size> {
    let memory_mib = u32::try_from(spec.limits.memory_bytes.div_ceil(BYTES_PER_MIB)).unwrap_or(u32::MAX);
    let vcpus = spec.limits.milli_cpus.div_ceil(MILLI_CPUS_PER_VCPU).clamp(1, u32::from(VCPUS_MAX)) as u8;
    if (MEMORY_MIN_MIB..=MEMORY_MAX_MIB).contains(&memory_mib) {
        return Ok(Size { memory_mib, vcpus });
    }
    let told = format!("a microVM has {MEMORY_MIN_MIB} to {MEMORY_MAX_MIB} MiB, not {memory_mib}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, told))
}

/// Our end, and the guest's: neither blocks.
fn channel() -> io::Result<(StdUnixStream, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((ours, theirs))
}

fn host_cpu(kvm: &File) -> Result<HostCpu, KvmError> {
    let kvm = sys::kvm::of_device(kvm.try_clone().map_err(KvmError::Device)?.into());
    HostCpu::probe(&kvm).map_err(|error| KvmError::Processor(error.to_string()))
}
