//! Plays the launcher for one microVM, to try kernels, devices and guests by hand:
//!
//! ```text
//! boot --kernel FILE [--initrd FILE] [--cmdline TEXT] [--memory MIB] [--vcpus N] [--root IMAGE] [--code IMAGE]
//!      [--empty-code] [--entropy] [--balloon] [--net MAC] [--acpi] [--entry pvh|linux64] [--huge] [--shared FILE]
//!      [--no-serial] [--vmm PROGRAM] [--times]
//! ```
//!
//! The serial console goes to standard output, so does what comes over the vsock channel; standard input goes into the
//! channel, but for the lines `:attach IMAGE`, `:balloon MIB`, `:pause`, `:resume` and `:stats`, which are requests to
//! the VMM (`--empty-code` makes a code drive to attach to); answers go to standard error. With `--net`, standard input
//! is the tap of a network device with that address instead. Ends when the machine does; `--times` tells the
//! milliseconds of each step on standard error.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use hearth_vmm::boot::BootImage;
use hearth_vmm::control::{
    Boot, Devices, Drive, Entry, Event, FdIndex, FromVmm, MemoryFile, Net, Reply, Request, VERSION, receive, send,
};
use hearth_vmm::layout::Slot;
use hearth_vmm::memory::Mapping;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

#[derive(Default)]
struct Options {
    kernel: PathBuf,
    initrd: Option<PathBuf>,
    cmdline: String,
    memory_mib: u32,
    vcpus: u8,
    root: Option<PathBuf>,
    code: Option<PathBuf>,
    empty_code: bool,
    entropy: bool,
    balloon: bool,
    acpi: bool,
    entry: Option<Entry>,
    huge_pages: bool,
    mac: Option<[u8; 6]>,
    shared: Option<PathBuf>,
    serial: bool,
    times: bool,
    vmm: Option<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { memory_mib: 128, vcpus: 1, serial: true, cmdline: DEFAULT_CMDLINE.to_owned(), ..Options::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--kernel" => options.kernel = value()?.into(),
            "--initrd" => options.initrd = Some(value()?.into()),
            "--cmdline" => options.cmdline = value()?,
            "--memory" => options.memory_mib = value()?.parse().map_err(|_| "--memory takes MiB")?,
            "--vcpus" => options.vcpus = value()?.parse().map_err(|_| "--vcpus takes a number")?,
            "--root" => options.root = Some(value()?.into()),
            "--code" => options.code = Some(value()?.into()),
            "--net" => options.mac = Some(mac(&value()?).ok_or("--net takes an address as 02:00:00:00:00:01")?),
            "--shared" => options.shared = Some(value()?.into()),
            "--vmm" => options.vmm = Some(value()?.into()),
            "--empty-code" => options.empty_code = true,
            "--entropy" => options.entropy = true,
            "--balloon" => options.balloon = true,
            "--acpi" => options.acpi = true,
            "--huge" => options.huge_pages = true,
            "--no-serial" => options.serial = false,
            "--times" => options.times = true,
            "--entry" => {
                options.entry = Some(match value()?.as_str() {
                    "pvh" => Entry::Pvh,
                    "linux64" => Entry::Linux64,
                    other => return Err(format!("--entry is pvh or linux64, not {other}")),
                });
            }
            other => return Err(format!("unknown option {other}; see the head of examples/boot.rs")),
        }
    }
    Ok(options)
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

const DEFAULT_CMDLINE: &str = "console=ttyS0 reboot=t panic=-1 tsc=reliable random.trust_cpu=on";

/// Descriptors that ride along with the request, and their numbers.
#[derive(Default)]
struct Luggage(Vec<OwnedFd>);

impl Luggage {
    fn add(&mut self, fd: impl Into<OwnedFd>) -> FdIndex {
        self.0.push(fd.into());
        (self.0.len() - 1) as FdIndex
    }

    fn lend(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd).collect()
    }
}

fn main() -> ExitCode {
    match options().map_err(io::Error::other).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("boot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let start = Instant::now();
    let tell = |what: &str| {
        if options.times {
            eprintln!("boot: {:9.3} ms  {what}", start.elapsed().as_secs_f64() * 1e3);
        }
    };
    let drive = |path: &Option<PathBuf>, luggage: &mut Luggage| -> io::Result<Option<Drive>> {
        let Some(path) = path else { return Ok(None) };
        let image = Some(luggage.add(File::open(path)?));
        Ok(Some(Drive { image, bandwidth: None, requests: None }))
    };
    let mut luggage = Luggage::default();
    let (channel, theirs) = UnixStream::pair()?;
    let console = options.serial.then(console).transpose()?;
    let devices = Devices {
        serial: console.as_ref().map(|(theirs, _)| theirs.try_clone().map(|theirs| luggage.add(theirs))).transpose()?,
        channel: Some(luggage.add(theirs)),
        root: drive(&options.root, &mut luggage)?,
        code: match drive(&options.code, &mut luggage)? {
            None if options.empty_code => Some(Drive { image: None, bandwidth: None, requests: None }),
            drive => drive,
        },
        entropy: options.entropy,
        balloon: options.balloon,
        net: options.mac.map(|mac| tap(mac, &mut luggage)).transpose()?,
    };
    let mut slots = vec![Slot::Vsock];
    slots.extend(devices.root.map(|_| Slot::Root));
    slots.extend(devices.code.map(|_| Slot::Code));
    slots.extend(devices.entropy.then_some(Slot::Entropy));
    slots.extend(devices.balloon.then_some(Slot::Balloon));
    slots.extend(devices.net.map(|_| Slot::Net));

    let memory = match &options.shared {
        Some(path) => File::options().read(true).write(true).create(true).truncate(true).open(path)?,
        None => File::from(memfd_create("boot image", MemfdFlags::CLOEXEC)?),
    };
    let initrd = options.initrd.as_ref().map(std::fs::read).transpose()?.unwrap_or_default();
    let image = BootImage {
        kernel: &std::fs::read(&options.kernel)?,
        initrd: &initrd,
        command_line: &options.cmdline,
        memory_mib: options.memory_mib,
        vcpus: options.vcpus,
        slots: &slots,
        serial: options.serial,
        acpi: options.acpi,
        entry: options.entry,
    };
    let vcpu_start = image.build(&memory).map_err(io::Error::other)?;
    tell("boot image made");

    let boot = Boot {
        prefetch: Vec::new(),
        vcpus: options.vcpus,
        memory: MemoryFile {
            file: luggage.add(memory),
            mib: options.memory_mib,
            mapping: if options.shared.is_some() { Mapping::Shared } else { Mapping::Private },
            huge_pages: options.huge_pages,
        },
        start: vcpu_start,
        acpi: options.acpi,
        devices,
        resume: true,
        kvm: luggage.add(File::options().read(true).write(true).open("/dev/kvm")?),
    };
    let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    tell("start");
    let program =
        options.vmm.clone().unwrap_or_else(|| std::env::current_exe().unwrap_or_default().with_file_name("hearth-vmm"));
    let mut vmm = Command::new("sh")
        .args(["-c", "exec \"$0\" 3<&0 0</dev/null"])
        .arg(program)
        .stdin(Stdio::from(theirs))
        .spawn()?;
    send(&control, &Request::Hello { version: VERSION, kvm: None }, &[])?;
    tell(&format!("{:?}", next(&control)?));
    send(&control, &Request::Boot(boot), &luggage.lend())?;
    drop(luggage);
    let reply = next(&control)?;
    tell(&format!("{reply:?}"));
    if let FromVmm::Reply(Reply::Failed { reason }) = reply {
        return Err(io::Error::other(reason));
    }
    join(channel, options.mac.is_none().then(|| control.try_clone()).transpose()?)?;
    let console = console.map(|(_, printer)| printer);
    let end = loop {
        match next(&control) {
            Ok(FromVmm::Reply(reply)) => eprintln!("boot: {reply:?}"),
            end => break end,
        }
    };
    tell(&format!("{end:?}"));
    let status = vmm.wait()?;
    // It ends with the last descriptor of the console's other end.
    console.map(JoinHandle::join);
    match end? {
        FromVmm::Event(Event::Stopped(_)) if status.success() => Ok(()),
        other => Err(io::Error::other(format!("{other:?}, hearth-vmm: {status}"))),
    }
}

/// A network device on standard input.
fn tap(mac: [u8; 6], luggage: &mut Luggage) -> io::Result<Net> {
    let tap = luggage.add(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(Net { tap, mac, bandwidth: None, packets: None })
}

/// What the VMM writes the serial console to without ever waiting, and the thread that prints it.
fn console() -> io::Result<(UnixStream, JoinHandle<()>)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let printer = std::thread::spawn(move || {
        // Ends with the console or with standard output; nobody is there to be told.
        let _ = io::copy(&mut ours, &mut io::stdout());
    });
    Ok((theirs, printer))
}

fn next(control: &OwnedFd) -> io::Result<FromVmm> {
    let packet = receive(control)?.ok_or_else(|| io::Error::other("hearth-vmm is gone"))?;
    Ok(packet.message)
}

/// Standard input into the channel or, request by request, to the VMM; the channel to standard output.
fn join(channel: UnixStream, control: Option<OwnedFd>) -> io::Result<()> {
    let (mut from, mut to) = (channel.try_clone()?, channel);
    std::thread::spawn(move || -> io::Result<()> {
        let Some(control) = control else { return Ok(()) };
        for line in io::stdin().lines() {
            let line = line?;
            match line.strip_prefix(':') {
                Some(request) => ask(&control, request).unwrap_or_else(|error| eprintln!("boot: {request}: {error}")),
                None => writeln!(to, "{line}")?,
            }
        }
        to.shutdown(std::net::Shutdown::Write)
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut out = io::stdout().lock();
            if out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err() {
                break;
            }
        }
    });
    Ok(())
}

/// A line of standard input as a request.
fn ask(control: &OwnedFd, line: &str) -> io::Result<()> {
    let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "attach" => send(control, &Request::AttachCode { image: 0 }, &[File::open(argument)?.as_fd()]),
        "balloon" => send(control, &Request::SetBalloon { mib: argument.parse().map_err(io::Error::other)? }, &[]),
        "pause" => send(control, &Request::Pause, &[]),
        "resume" => send(control, &Request::Resume, &[]),
        "stats" => send(control, &Request::Stats, &[]),
        _ => Err(io::Error::other("is no request: attach IMAGE, balloon MIB, pause, resume, stats")),
    }
}
