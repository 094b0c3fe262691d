//! The directory of a snapshot, as the launcher has it.
//!
//! | file | what |
//! | --- | --- |
//! | `memory` | the machine's memory, with holes where nothing was ever written |
//! | `state` | all else ([`MachineState`]), written by `hearth-vmm` |
//! | `checksums` | of the memory, written when the snapshot is finished |
//! | `prefetch` | optional: what to bring in ahead, written when the first restored machine has answered |
//!
//! ```text
//!  Draft::begin ──▶ boot the machine with draft.memory() mapped Shared ──▶ pause ──▶ Request::Snapshot(draft.state())
//!                                                                                          │ end the VMM, draft.checksums()
//!                   Snapshot::open (another process, later) ◀── rename ◀── Draft::finish ◀─┘
//! ```
//!
//! A draft has another name until it is finished, so a crash leaves a whole snapshot or none. Nothing is flushed to
//! the disk: a snapshot can be made again, and what a power failure damages is refused for its checksum.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::format::{CHECKSUMS, PREFETCH, STATE};
use super::prefetch::{self, Run};
use super::{Checksums, HostCpu, MachineState, Refusal};
use crate::layout::Slot;

const MEMORY: &str = "memory";

/// A snapshot that is being made. Dropping it removes it.
#[derive(Debug)]
pub struct Draft {
    into: PathBuf,
    path: PathBuf,
    memory: File,
    state: File,
}

impl Draft {
    /// Makes the directory beside `into`, and in it the memory of a machine that starts from `image`: a boot image, or
    /// the memory of a snapshot. Removes what a crash left of an earlier draft.
    pub fn begin(into: &Path, image: &File) -> io::Result<Self> {
        let name = into.file_name().ok_or_else(|| io::Error::other("the snapshot's directory needs a name"))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".draft");
        let path = into.with_file_name(hidden);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let memory = new_file(&path.join(MEMORY))?;
        let state = new_file(&path.join(STATE.name))?;
        let draft = Self { into: into.to_owned(), path, memory, state };
        super::copy_sparse(image, &draft.memory)?;
        Ok(draft)
    }

    /// What the machine maps, with [`crate::memory::Mapping::Shared`].
    #[must_use]
    pub fn memory(&self) -> &File {
        &self.memory
    }

    /// Where [`crate::control::Request::Snapshot`] writes.
    #[must_use]
    pub fn state(&self) -> &File {
        &self.state
    }

    /// The memory's checksums. From [`crate::control::Request::Snapshot`]'s answer on, while the VMM ends: it has given
    /// the machine up. One that was taken over may write on until it is gone; then the snapshot is refused as damaged
    /// when it is opened.
    pub fn checksums(&self) -> Result<Checksums, Refusal> {
        Checksums::of(&self.memory).map_err(Refusal::io(MEMORY))
    }

    /// Makes it a snapshot: checks the state, gives the directory its name. The VMM that wrote it must have ended, or it
    /// could still change it.
    pub fn finish(self, checksums: &Checksums, host: &HostCpu) -> Result<Snapshot, Refusal> {
        let machine = admitted(&self.state, &self.memory, host)?;
        let mut file = new_file(&self.path.join(CHECKSUMS.name)).map_err(Refusal::io(CHECKSUMS.name))?;
        CHECKSUMS.write(&mut file, checksums).map_err(Refusal::io(CHECKSUMS.name))?;
        fs::rename(&self.path, &self.into).map_err(Refusal::io("directory"))?;
        // Read-only from here on, by whoever has the descriptors.
        Snapshot::of(&self.into, machine)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `finish` it is gone under this name.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A snapshot that this host can restore: checked, and its files open.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    state: File,
    memory: File,
    memory_mib: u32,
    vcpus: u8,
    acpi: bool,
    slots: Vec<Slot>,
    prefetch: Mutex<Vec<Run>>,
}

impl Snapshot {
    /// Opens a snapshot and checks all of it, its memory's checksums included: once a process, which then keeps it.
    pub fn open(path: &Path, host: &HostCpu) -> Result<Self, Refusal> {
        let state = File::open(path.join(STATE.name)).map_err(Refusal::io(STATE.name))?;
        let memory = File::open(path.join(MEMORY)).map_err(Refusal::io(MEMORY))?;
        let machine = admitted(&state, &memory, host)?;
        let file = File::open(path.join(CHECKSUMS.name)).map_err(Refusal::io(CHECKSUMS.name))?;
        let checksums: Checksums = CHECKSUMS.read(&file)?;
        if let Some(at) = checksums.mismatch(&memory).map_err(Refusal::io(MEMORY))? {
            return Err(Refusal::damaged(MEMORY, format_args!("it has another checksum at {at:#x}")));
        }
        Self::of(path, machine)
    }

    fn of(path: &Path, machine: MachineState) -> Result<Self, Refusal> {
        Ok(Self {
            path: path.to_owned(),
            state: File::open(path.join(STATE.name)).map_err(Refusal::io(STATE.name))?,
            memory: File::open(path.join(MEMORY)).map_err(Refusal::io(MEMORY))?,
            memory_mib: machine.memory_mib,
            vcpus: machine.vcpus.len() as u8,
            acpi: machine.acpi,
            slots: machine.devices.iter().map(|device| device.slot).collect(),
            prefetch: Mutex::new(recorded(path, machine.memory_mib)),
        })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// [`crate::control::Restore::state`], read-only.
    #[must_use]
    pub fn state(&self) -> &File {
        &self.state
    }

    /// The memory, read-only: for [`crate::memory::Mapping::Private`], or as the image of another [`Draft`].
    #[must_use]
    pub fn memory(&self) -> &File {
        &self.memory
    }

    /// Size of the memory, MiB.
    #[must_use]
    pub fn memory_mib(&self) -> u32 {
        self.memory_mib
    }

    /// How many vCPUs the machine has.
    #[must_use]
    pub fn vcpus(&self) -> u8 {
        self.vcpus
    }

    /// Whether the guest has ACPI.
    #[must_use]
    pub fn acpi(&self) -> bool {
        self.acpi
    }

    /// The devices that [`crate::control::Restore::devices`] must name, no more and no fewer.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// [`crate::control::Restore::prefetch`]; empty until recorded.
    #[must_use]
    pub fn prefetch(&self) -> Vec<Run> {
        self.prefetch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether [`Self::record_prefetch`] was called, now or in an earlier process.
    #[must_use]
    pub fn has_prefetch(&self) -> bool {
        !self.prefetch.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Keeps what a restored machine wrote, for those that follow. `pagemap` is `/proc/PID/pagemap` of its VMM,
    /// `mapped_at` from its [`crate::control::VmmStats`].
    pub fn record_prefetch(&self, pagemap: &File, mapped_at: [u64; 2]) -> io::Result<()> {
        let runs = prefetch::record(pagemap, mapped_at, self.memory_mib)?;
        let draft = self.path.join(".prefetch.draft");
        fs::write(&draft, PREFETCH.encode(&runs)?)?;
        fs::rename(&draft, self.path.join(PREFETCH.name))?;
        *self.prefetch.lock().unwrap_or_else(PoisonError::into_inner) = runs;
        Ok(())
    }
}

/// Reads and checks the state, without the memory's content.
fn admitted(state: &File, memory: &File, host: &HostCpu) -> Result<MachineState, Refusal> {
    let machine = MachineState::read(state)?;
    let (found, expected) =
        (memory.metadata().map_err(Refusal::io(MEMORY))?.len(), u64::from(machine.memory_mib) << 20);
    if found != expected {
        return Err(Refusal::Length { file: MEMORY, found, expected });
    }
    host.admit(&machine)?;
    Ok(machine)
}

/// The prefetch list. It only makes things faster, so one that can't be used is as good as none and will be recorded
/// anew.
fn recorded(path: &Path, memory_mib: u32) -> Vec<Run> {
    let runs = File::open(path.join(PREFETCH.name)).ok().and_then(|file| PREFETCH.read::<Vec<Run>>(&file).ok());
    runs.filter(|runs| prefetch::is_valid(runs, memory_mib)).unwrap_or_default()
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use kvm_bindings::kvm_cpuid_entry2;

    use super::*;
    use crate::snapshot::{VcpuState, VmState};

    const MIB: u32 = 128;

    fn host(ecx: u32) -> HostCpu {
        HostCpu { cpuid: vec![features(ecx)], tsc_khz: 2_000_000, scales_tsc: false }
    }

    fn features(ecx: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function: 1, ecx, ..Default::default() }
    }

    fn machine(vcpus: usize) -> MachineState {
        let vcpu = || VcpuState::blank(vec![features(1 << 20)], 2_000_000);
        let vcpus = (0..vcpus).map(|_| vcpu()).collect();
        MachineState { memory_mib: MIB, acpi: false, vm: VmState::default(), vcpus, devices: Vec::new() }
    }

    fn image() -> File {
        let image = tempfile::tempfile().unwrap();
        image.set_len(u64::from(MIB) << 20).unwrap();
        image.write_all_at(&[3; 8192], 16 << 20).unwrap();
        image
    }

    fn finished(path: &Path) -> Snapshot {
        let mut draft = Draft::begin(path, &image()).unwrap();
        draft.memory().write_all_at(&[4; 4096], 1 << 20).unwrap();
        machine(2).write(&mut draft.state).unwrap();
        let checksums = draft.checksums().unwrap();
        draft.finish(&checksums, &host(u32::MAX)).unwrap()
    }

    #[test]
    fn a_finished_snapshot_opens_and_a_draft_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("python");
        drop(Draft::begin(&path, &image()).unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        finished(&path);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        let snapshot = Snapshot::open(&path, &host(u32::MAX)).unwrap();
        assert_eq!((snapshot.vcpus(), snapshot.memory_mib(), snapshot.has_prefetch()), (2, MIB, false));
        let mut bytes = [0; 2];
        snapshot.memory().read_exact_at(&mut bytes, (16 << 20) + 8190).unwrap();
        assert_eq!(bytes, [3; 2]);
    }

    #[test]
    fn what_an_earlier_draft_left_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        std::mem::forget(Draft::begin(&directory.path().join("python"), &image()).unwrap());
        finished(&directory.path().join("python"));
    }

    #[test]
    fn a_draft_without_state_does_not_become_a_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let draft = Draft::begin(&directory.path().join("python"), &image()).unwrap();
        let checksums = draft.checksums().unwrap();
        assert!(matches!(draft.finish(&checksums, &host(0)), Err(Refusal::Length { file: "state", found: 0, .. })));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn each_mismatch_is_refused_for_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("python");
        finished(&path);
        let open = |host| Snapshot::open(&path, &host).map(drop);
        assert!(matches!(open(host(0)), Err(Refusal::Cpu { missing }) if missing == ["sse4_2"]));
        let slow = HostCpu { tsc_khz: 1_000_000, ..host(u32::MAX) };
        assert!(matches!(open(slow.clone()), Err(Refusal::TscFrequency { snapshot: 2_000_000, host: 1_000_000 })));
        open(HostCpu { scales_tsc: true, ..slow }).unwrap();

        let memory = OpenOptions::new().write(true).open(path.join(MEMORY)).unwrap();
        memory.write_all_at(&[5], 16 << 20).unwrap();
        assert!(matches!(open(host(u32::MAX)), Err(Refusal::Damaged { file: "memory", .. })));
        memory.set_len(64 << 20).unwrap();
        assert!(matches!(open(host(u32::MAX)), Err(Refusal::Length { file: "memory", .. })));
        memory.set_len(u64::from(MIB) << 20).unwrap();
        memory.write_all_at(&[3], 16 << 20).unwrap();
        open(host(u32::MAX)).unwrap();

        let checksums = fs::read(path.join(CHECKSUMS.name)).unwrap();
        fs::remove_file(path.join(CHECKSUMS.name)).unwrap();
        assert!(matches!(open(host(u32::MAX)), Err(Refusal::Io { file: "checksums", .. })));
        fs::write(path.join(CHECKSUMS.name), checksums).unwrap();

        let state = fs::read(path.join(STATE.name)).unwrap();
        fs::write(path.join(STATE.name), &state[..state.len() - 1]).unwrap();
        assert!(matches!(open(host(u32::MAX)), Err(Refusal::Length { file: "state", .. })));
        let mut newer = state;
        newer[8] += 1;
        fs::write(path.join(STATE.name), newer).unwrap();
        assert!(matches!(open(host(u32::MAX)), Err(Refusal::Version { .. })));
    }

    #[test]
    fn a_machine_of_impossible_size_is_refused() {
        for vcpus in [0, 7] {
            let mut file = tempfile::tempfile().unwrap();
            machine(vcpus).write(&mut file).unwrap();
            assert!(matches!(MachineState::read(&file), Err(Refusal::Damaged { file: "state", .. })), "{vcpus}");
        }
    }

    #[test]
    fn what_was_recorded_is_there_at_the_next_opening() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("python");
        let snapshot = finished(&path);
        let pagemap = tempfile::tempfile().unwrap();
        pagemap.set_len(1 << 20).unwrap();
        pagemap.write_all_at(&(1_u64 << 63 | 1 << 56).to_ne_bytes(), (7 + 5) * 8).unwrap();
        snapshot.record_prefetch(&pagemap, [7 * prefetch::PAGE_BYTES, 0]).unwrap();
        assert_eq!(snapshot.prefetch(), [(5, 1)]);
        let open = || Snapshot::open(&path, &host(u32::MAX)).unwrap();
        assert_eq!(open().prefetch(), [(5, 1)]);
        // A damaged list is none.
        fs::write(path.join(PREFETCH.name), b"HEARTHPF").unwrap();
        assert!(!open().has_prefetch());
    }
}
