//! Plays the launcher for snapshots: boots a guest, snapshots it, restores it, and tells what each step took:
//!
//! ```text
//! snapshot --kernel FILE --initrd FILE [--cmdline TEXT] [--memory MIB] [--vcpus N] [--acpi] [--vmm PROGRAM]
//!          [--into DIRECTORY] [--clones N] [--settle MS] [--warm] [--ahead MS]
//! ```
//!
//! The guest connects to the channel and answers each line with one of its own; the first that it sends says that it is
//! ready to be snapshotted. Clones are restored all at once and asked; then one at a time, without and with what the
//! first had touched brought in ahead. With an existing directory nothing is booted; `--warm` keeps a VM besides, as a
//! host with other microVMs has. Times are in milliseconds since the process of the VMM was started, or with `--ahead`
//! since that long after: then it has made its VM.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use hearth_vmm::boot::BootImage;
use hearth_vmm::control::{
    Boot, Devices, FdIndex, FromVmm, MemoryFile, Reply, Request, Restore, VERSION, VcpuStart, VmmStats, receive, send,
};
use hearth_vmm::layout::Slot;
use hearth_vmm::memory::Mapping;
use hearth_vmm::snapshot::prefetch::Run;
use hearth_vmm::snapshot::{Draft, HostCpu, Snapshot};
use kvm_ioctls::Kvm;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

struct Options {
    kernel: PathBuf,
    initrd: PathBuf,
    cmdline: String,
    memory_mib: u32,
    vcpus: u8,
    acpi: bool,
    vmm: PathBuf,
    into: PathBuf,
    clones: usize,
    settle: Duration,
    warm: bool,
    ahead: Option<Duration>,
}

fn options() -> Result<Options, String> {
    let beside = std::env::current_exe().unwrap_or_default().with_file_name("hearth-vmm");
    let mut options = Options {
        kernel: PathBuf::new(),
        initrd: PathBuf::new(),
        cmdline: "console=ttyS0 quiet reboot=t panic=-1 tsc=reliable random.trust_cpu=on".to_owned(),
        memory_mib: 128,
        vcpus: 1,
        acpi: false,
        vmm: beside,
        into: std::env::temp_dir().join(format!("snapshot-{}", std::process::id())),
        clones: 2,
        settle: Duration::ZERO,
        warm: false,
        ahead: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        let number = |text: String| text.parse::<u32>().map_err(|_| format!("{text} is no number"));
        match name.as_str() {
            "--kernel" => options.kernel = value()?.into(),
            "--initrd" => options.initrd = value()?.into(),
            "--cmdline" => options.cmdline = value()?,
            "--memory" => options.memory_mib = number(value()?)?,
            "--vcpus" => options.vcpus = number(value()?)? as u8,
            "--ahead" => options.ahead = Some(Duration::from_millis(number(value()?)?.into())),
            "--warm" => options.warm = true,
            "--acpi" => options.acpi = true,
            "--vmm" => options.vmm = value()?.into(),
            "--into" => options.into = value()?.into(),
            "--clones" => options.clones = number(value()?)? as usize,
            "--settle" => options.settle = Duration::from_millis(number(value()?)?.into()),
            other => return Err(format!("unknown option {other}; see the head of examples/snapshot.rs")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().map_err(io::Error::other).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snapshot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let kvm = Kvm::new()?;
    let host = HostCpu::probe(&kvm).map_err(io::Error::other)?;
    let _other = options.warm.then(|| kvm.create_vm()).transpose()?;
    let snapshot = if options.into.exists() {
        let start = Instant::now();
        let snapshot = Snapshot::open(&options.into, &host).map_err(io::Error::other)?;
        println!("opened and verified in {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
        snapshot
    } else {
        take(options, &host)?
    };
    let restore = |prefetch| Vmm::restore(options, &snapshot, prefetch);
    let mut clones = (0..options.clones).map(|_| restore(Vec::new())).collect::<io::Result<Vec<_>>>()?;
    for round in ["hello 1", "say hello"] {
        for (number, clone) in clones.iter_mut().enumerate() {
            println!("clone {number}: {}", clone.ask(round)?);
        }
    }
    let Some(first) = clones.first_mut() else { return Ok(()) };
    let stats = first.stats()?;
    snapshot.record_prefetch(&File::open(format!("/proc/{}/pagemap", first.process.id()))?, stats.memory_mapped_at)?;
    drop(clones);
    let list = snapshot.prefetch();
    println!("prefetch: {} runs, {} pages", list.len(), list.iter().map(|run| run.1).sum::<u32>());
    for (what, prefetch) in [("without", Vec::new()), ("with", list)] {
        let mut alone = restore(prefetch)?;
        println!("alone, {what} prefetch: {}", alone.ask("hello")?);
        println!("its memory: {}", alone.memory()?);
    }
    Ok(())
}

/// Boots, waits until the guest is ready, and snapshots it.
fn take(options: &Options, host: &HostCpu) -> io::Result<Snapshot> {
    let image = File::options().read(true).write(true).create(true).truncate(true).open("boot-image")?;
    let start = BootImage {
        kernel: &std::fs::read(&options.kernel)?,
        initrd: &std::fs::read(&options.initrd)?,
        command_line: &options.cmdline,
        memory_mib: options.memory_mib,
        vcpus: options.vcpus,
        slots: &[Slot::Vsock],
        serial: true,
        acpi: options.acpi,
        entry: None,
    }
    .build(&image)
    .map_err(io::Error::other)?;
    let draft = Draft::begin(&options.into, &image)?;
    let mut vmm = Vmm::boot(options, draft.memory(), start)?;
    println!("booted: {}", vmm.line()?);
    vmm.ask("before")?;
    std::thread::sleep(options.settle);
    let started = Instant::now();
    vmm.request(Request::Pause, &[])?;
    let paused = started.elapsed();
    vmm.request(Request::Snapshot { state: 0 }, &[draft.state().as_fd()])?;
    let taken = started.elapsed();
    drop(vmm);
    let ended = started.elapsed();
    let checksums = draft.checksums().map_err(io::Error::other)?;
    let snapshot = draft.finish(&checksums, host).map_err(io::Error::other)?;
    let finished = started.elapsed();
    let blocks = std::os::unix::fs::MetadataExt::blocks(&snapshot.memory().metadata()?);
    println!(
        "snapshot: paused {paused:.2?}, state written {taken:.2?}, VMM ended {ended:.2?}, finished {finished:.2?}; \
         state {} B, memory {} KiB on disk",
        snapshot.state().metadata()?.len(),
        blocks / 2
    );
    Ok(snapshot)
}

/// A VMM's process, as its launcher has it. Dropping it ends it.
struct Vmm {
    process: Child,
    control: OwnedFd,
    channel: BufReader<UnixStream>,
    started: Instant,
}

impl Vmm {
    fn boot(options: &Options, memory: &File, start: VcpuStart) -> io::Result<Self> {
        let (mut vmm, serial, channel) = Self::start(&options.vmm, options.ahead)?;
        let kvm = kvm()?;
        let boot = Boot {
            prefetch: Vec::new(),
            vcpus: options.vcpus,
            memory: memory_file(options.memory_mib, Mapping::Shared),
            start,
            acpi: options.acpi,
            devices: devices(),
            resume: true,
            kvm: KVM,
        };
        vmm.request(Request::Boot(boot), &[memory.as_fd(), kvm.as_fd(), serial.as_fd(), channel.as_fd()])?;
        Ok(vmm)
    }

    fn restore(options: &Options, snapshot: &Snapshot, prefetch: Vec<Run>) -> io::Result<Self> {
        let (mut vmm, serial, channel) = Self::start(&options.vmm, options.ahead)?;
        let kvm = kvm()?;
        let restore = Restore {
            state: STATE,
            memory: memory_file(snapshot.memory_mib(), Mapping::Private),
            devices: devices(),
            prefetch,
            resume: true,
            kvm: KVM,
        };
        let (memory, state) = (snapshot.memory().as_fd(), snapshot.state().as_fd());
        vmm.request(Request::Restore(restore), &[memory, kvm.as_fd(), serial.as_fd(), channel.as_fd(), state])?;
        Ok(vmm)
    }

    fn start(program: &Path, ahead: Option<Duration>) -> io::Result<(Self, OwnedFd, OwnedFd)> {
        let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (channel, guest) = UnixStream::pair()?;
        let serial = File::options().append(true).create(true).open("serial.log")?;
        // The shell moves its input to where `hearth-vmm` expects the control socket.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" 3<&0 0</dev/null"])
            .arg(program)
            .stdin(Stdio::from(theirs))
            .spawn()?;
        let started = Instant::now();
        if let Err(error) = send(&control, &Request::Hello { version: VERSION, kvm: Some(0) }, &[kvm()?.as_fd()]) {
            process.kill()?;
            return Err(error);
        }
        let mut vmm = Self { process, control, channel: BufReader::new(channel), started };
        vmm.tell("started", &vmm.reply()?);
        if let Some(ahead) = ahead {
            std::thread::sleep(ahead);
            vmm.started = Instant::now();
        }
        Ok((vmm, serial.into(), guest.into()))
    }

    fn request(&mut self, request: Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let name = format!("{request:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
        send(&self.control, &request, descriptors)?;
        let reply = self.reply()?;
        self.tell(&name, &reply);
        Ok(())
    }

    fn reply(&self) -> io::Result<Reply> {
        match receive(&self.control)?.map(|packet| packet.message) {
            Some(FromVmm::Reply(Reply::Failed { reason })) => Err(io::Error::other(reason)),
            Some(FromVmm::Reply(reply)) => Ok(reply),
            other => Err(io::Error::other(format!("the VMM says {other:?}"))),
        }
    }

    fn stats(&mut self) -> io::Result<VmmStats> {
        send(&self.control, &Request::Stats, &[])?;
        match self.reply()? {
            Reply::Stats(stats) => Ok(stats),
            other => Err(io::Error::other(format!("{other:?} in place of figures"))),
        }
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        writeln!(self.channel.get_mut(), "{line}")?;
        let answer = self.line()?;
        Ok(format!("{:.3} ms: {answer}", self.started.elapsed().as_secs_f64() * 1e3))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.channel.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn memory(&self) -> io::Result<String> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id()))?;
        let wanted = |line: &&str| ["Rss", "Pss:", "Private_Dirty"].iter().any(|name| line.starts_with(name));
        Ok(rollup
            .lines()
            .filter(wanted)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join(", "))
    }

    fn tell(&self, what: &str, reply: &Reply) {
        println!("  {:9.3} ms  {what}: {reply:?}", self.started.elapsed().as_secs_f64() * 1e3);
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        // Ended by the end of the socket, or by this; either way nothing is left to do if it fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const MEMORY: FdIndex = 0;
const KVM: FdIndex = 1;
const SERIAL: FdIndex = 2;
const CHANNEL: FdIndex = 3;
const STATE: FdIndex = 4;

fn memory_file(mib: u32, mapping: Mapping) -> MemoryFile {
    MemoryFile { file: MEMORY, mib, mapping, huge_pages: false }
}

fn devices() -> Devices {
    Devices { serial: Some(SERIAL), channel: Some(CHANNEL), ..Devices::default() }
}

fn kvm() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/kvm")
}
