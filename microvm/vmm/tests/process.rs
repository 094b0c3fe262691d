//! `hearth-vmm` as a process, driven through its control socket as a launcher does: what it answers, what it refuses,
//! and that it ends.

#[path = "support/tiny_guest.rs"]
mod tiny_guest;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use hearth_vmm::control::{
    Boot, Devices, Entry, Event, FdIndex, FromVmm, MemoryFile, Reply, Request, StopReason, VERSION, receive, send,
};
use hearth_vmm::layout::Slot;
use hearth_vmm::memory::Mapping;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tiny_guest::{RESET, console, image, kvm, line, print};

/// A process and its control socket.
struct Vmm {
    child: Child,
    control: OwnedFd,
}

impl Vmm {
    fn start() -> Self {
        let (control, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" 3<&0 0</dev/null", env!("CARGO_BIN_EXE_hearth-vmm")])
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        Self { child, control }
    }

    fn ask(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Reply {
        send(&self.control, request, descriptors).unwrap();
        match receive(&self.control).unwrap().unwrap().message {
            FromVmm::Reply(reply) => reply,
            event => panic!("{event:?} in place of an answer"),
        }
    }

    fn refusal(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> String {
        match self.ask(request, descriptors) {
            Reply::Failed { reason } => reason,
            other => panic!("{request:?} was answered {other:?}"),
        }
    }

    /// The process ends by itself and well.
    fn ends(mut self) {
        drop(self.control);
        assert!(self.child.wait().unwrap().success());
    }
}

/// A request to boot and its descriptors: KVM, memory, console.
fn boot(kvm: OwnedFd, code: &[u8], console: OwnedFd) -> (Boot, [OwnedFd; 3]) {
    let (memory, start) = image(code, Entry::Pvh, 1, &[Slot::Entropy]);
    let memory_file = MemoryFile { file: 1, mib: 128, mapping: Mapping::Private, huge_pages: true };
    let devices = Devices { serial: Some(2), entropy: true, ..Devices::default() };
    let prefetch = Vec::new();
    let boot = Boot { vcpus: 1, memory: memory_file, start, acpi: false, devices, prefetch, resume: true, kvm: 0 };
    (boot, [kvm, memory.into(), console])
}

#[test]
fn a_machine_runs_rests_tells_of_itself_and_of_its_end() {
    let Some(kvm) = kvm() else { return };
    let (mut output, end) = console();
    // print; read the port of the keyboard controller until it is not 0, which it always is
    let wait = [0xe4, 0x64, 0x84, 0xc0, 0x74, 0xfa];
    let (boot, descriptors) = boot(kvm, &[&print("up\n"), &wait[..]].concat(), end);
    let descriptors = descriptors.each_ref().map(AsFd::as_fd);
    let vmm = Vmm::start();
    let hello = Request::Hello { version: VERSION, kvm: Some(0) };
    assert_eq!(vmm.ask(&hello, &descriptors[..1]), Reply::Hello { version: VERSION });
    for early in [Request::Resume, Request::Pause, Request::Stats, Request::SetBalloon { mib: 1 }] {
        assert!(vmm.refusal(&early, &[]).contains("no machine"));
    }
    assert_eq!(vmm.ask(&Request::Boot(boot.clone()), &descriptors), Reply::Done);
    assert_eq!(line(&mut output), "up\n");
    assert!(vmm.refusal(&Request::Boot(boot), &descriptors).contains("already"));
    let Reply::Stats(stats) = vmm.ask(&Request::Stats, &[]) else { panic!("no figures") };
    assert!(stats.exits > 0 && stats.memory_mapped_at[0] != 0 && stats.memory_mapped_at[1] == 0, "{stats:?}");
    assert_eq!(vmm.ask(&Request::Pause, &[]), Reply::Done);
    let exits = |vmm: &Vmm| match vmm.ask(&Request::Stats, &[]) {
        Reply::Stats(stats) => stats.exits,
        other => panic!("{other:?}"),
    };
    assert_eq!(exits(&vmm), exits(&vmm));
    assert_eq!(vmm.ask(&Request::Resume, &[]), Reply::Done);
    assert!(vmm.refusal(&Request::AttachCode { image: 0 }, &[]).contains("descriptor 0"));
    assert!(vmm.refusal(&Request::SetBalloon { mib: 1 }, &[]).contains("Balloon"));
    send(&vmm.control, &Request::Stop, &[]).unwrap();
    vmm.ends();
}

#[test]
fn a_reset_is_told_and_ends_the_process() {
    let Some(kvm) = kvm() else { return };
    let (_output, end) = console();
    let (boot, descriptors) = boot(kvm, RESET, end);
    let vmm = Vmm::start();
    assert_eq!(vmm.ask(&Request::Boot(boot), &descriptors.each_ref().map(AsFd::as_fd)), Reply::Done);
    let event = receive::<FromVmm>(&vmm.control).unwrap().unwrap().message;
    assert_eq!(event, FromVmm::Event(Event::Stopped(StopReason::Reset)));
    assert!(receive::<FromVmm>(&vmm.control).unwrap().is_none());
    vmm.ends();
}

#[test]
fn what_can_not_be_a_machine_is_refused_and_the_process_goes_on() {
    let Some(kvm) = kvm() else { return };
    let (mut output, end) = console();
    let (good, descriptors) = boot(kvm, &[&print("up\n"), RESET].concat(), end);
    let descriptors = descriptors.each_ref().map(AsFd::as_fd);
    let vmm = Vmm::start();
    let memory = good.memory;
    let sized = |mib| MemoryFile { mib, ..memory };
    let wrong: [(Boot, &str); 8] = [
        (Boot { vcpus: 0, ..good.clone() }, "vCPUs"),
        (Boot { vcpus: 7, ..good.clone() }, "vCPUs"),
        (Boot { memory: sized(127), ..good.clone() }, "MiB"),
        (Boot { memory: sized(u32::MAX), ..good.clone() }, "MiB"),
        (Boot { memory: sized(256), ..good.clone() }, "smaller"),
        (Boot { kvm: 3, ..good.clone() }, "descriptor 3"),
        (Boot { kvm: FdIndex::MAX, ..good.clone() }, "descriptor 255"),
        (Boot { kvm: 1, memory: MemoryFile { file: 0, ..memory }, ..good.clone() }, "KVM"),
    ];
    for (boot, expected) in wrong {
        let reason = vmm.refusal(&Request::Boot(boot), &descriptors);
        assert!(reason.contains(expected), "{reason:?} does not say {expected:?}");
    }
    assert_eq!(vmm.ask(&Request::Boot(good), &descriptors), Reply::Done);
    assert_eq!(line(&mut output), "up\n");
    vmm.ends();
}

#[test]
fn without_its_launcher_a_process_ends_with_or_without_a_machine() {
    Vmm::start().ends();
    let Some(kvm) = kvm() else { return };
    let (_output, end) = console();
    // jmp to itself
    let (boot, descriptors) = boot(kvm, &[0xeb, 0xfe], end);
    let vmm = Vmm::start();
    assert_eq!(vmm.ask(&Request::Boot(boot), &descriptors.each_ref().map(AsFd::as_fd)), Reply::Done);
    vmm.ends();
}
