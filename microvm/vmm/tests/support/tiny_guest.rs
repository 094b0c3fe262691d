//! Guests of a few instructions, in machine code, and the machine around them. They run where `/dev/kvm` opens, also
//! where it is emulated.

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::os::fd::OwnedFd;

use hearth_vmm::boot::BootImage;
use hearth_vmm::control::{Entry, VcpuStart};
use hearth_vmm::layout::Slot;
use rustix::fs::OFlags;
use rustix::io::FdFlags;

/// Where the code lies, and where it starts.
pub(crate) const CODE: u32 = 16 << 20;
/// Ends the machine through the keyboard controller: `mov al, 0xfe; out 0x64, al; hlt`.
pub(crate) const RESET: &[u8] = &[0xb0, 0xfe, 0xe6, 0x64, 0xf4];

/// `/dev/kvm`, or nothing where this host has none: said aloud.
pub(crate) fn kvm() -> Option<OwnedFd> {
    match File::options().read(true).write(true).open("/dev/kvm") {
        Ok(kvm) => Some(kvm.into()),
        Err(error) => {
            eprintln!("SKIPPED: /dev/kvm can't be opened ({error}); this test needs it, emulated will do");
            None
        }
    }
}

/// Code that writes `text` to the serial port, byte by byte.
pub(crate) fn print(text: &str) -> Vec<u8> {
    // mov dx, 0x3f8
    let mut code = vec![0x66, 0xba, 0xf8, 0x03];
    // mov al, BYTE; out dx, al
    text.bytes().for_each(|byte| code.extend([0xb0, byte, 0xee]));
    code
}

/// An ELF kernel of one segment: the code, with two pages of zeros after its first.
fn elf(code: &[u8]) -> Vec<u8> {
    let (code_at, note_at) = (0x1000_u64, 0x800_u64);
    let mut note = [4_u32, 4, 18].into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    note.extend(b"Xen\0");
    note.extend(CODE.to_le_bytes());
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    [u64::from(CODE), 64, 0].into_iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let segments = [(1_u32, code_at, u64::from(CODE), code.len()), (4, note_at, 0, note.len())];
    for (kind, offset, address, size) in segments {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        let in_memory = if kind == 1 { 0x3000 } else { size as u64 };
        for number in [offset, address, address, size as u64, in_memory, 4] {
            bytes.extend(number.to_le_bytes());
        }
    }
    bytes.resize(note_at as usize, 0);
    bytes.extend(note);
    bytes.resize(code_at as usize, 0);
    bytes.extend(code);
    bytes
}

/// The boot image of a guest that runs `code`, and where it starts.
pub(crate) fn image(code: &[u8], entry: Entry, vcpus: u8, slots: &[Slot]) -> (File, VcpuStart) {
    let file = tempfile::tempfile().unwrap();
    let image = BootImage {
        kernel: &elf(code),
        initrd: &[],
        command_line: "",
        memory_mib: 128,
        vcpus,
        slots,
        serial: true,
        acpi: false,
        entry: Some(entry),
    };
    let start = image.build(&file).unwrap();
    (file, start)
}

/// The two ends of a serial console: what to read lines from, and what to give the machine.
pub(crate) fn console() -> (BufReader<PipeReader>, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    rustix::io::fcntl_setfd(&writer, FdFlags::CLOEXEC).unwrap();
    (BufReader::new(reader), writer)
}

/// The next line of a console, or "" at its end.
pub(crate) fn line(console: &mut BufReader<PipeReader>) -> String {
    let mut line = String::new();
    console.read_line(&mut line).unwrap();
    line
}
