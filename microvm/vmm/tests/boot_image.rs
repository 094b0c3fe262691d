//! Boot images: what is where, and that wrong input is refused with a reason.

use std::fs::File;
use std::os::unix::fs::FileExt;

use hearth_vmm::boot::{BootImage, BootImageError};
use hearth_vmm::control::{Entry, VcpuStart};
use hearth_vmm::layout::{ACPI_TABLES, COMMAND_LINE, MP_TABLE, PVH_START, Slot, ZERO_PAGE};

const KERNEL_START: u64 = 16 << 20;

/// An ELF kernel of one segment of two bytes and, if asked for, a PVH note.
fn elf(pvh: bool) -> Vec<u8> {
    let mut note = [4_u32, 4, 18].into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    note.extend(b"Xen\0");
    note.extend((KERNEL_START as u32 + 1).to_le_bytes());
    let (code_at, note_at) = (64 + 2 * 56, 64 + 2 * 56 + 2_u64);
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    [KERNEL_START, 64, 0].into_iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    for (kind, offset, address, size) in [(1_u32, code_at, KERNEL_START, 2), (4, note_at, 0, note.len() as u64)] {
        bytes.extend(if kind == 4 && !pvh { 0 } else { kind }.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        [offset, address, address, size, size, 4].into_iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    }
    bytes.extend([0xf4, 0xf4]);
    bytes.extend(note);
    bytes
}

fn image(kernel: &[u8]) -> BootImage<'_> {
    let slots = &[Slot::Vsock, Slot::Root];
    BootImage {
        kernel,
        initrd: b"initramfs",
        command_line: "quiet -- --guest",
        memory_mib: 128,
        vcpus: 2,
        slots,
        serial: true,
        acpi: false,
        entry: None,
    }
}

fn built(image: BootImage<'_>) -> Result<(File, VcpuStart), BootImageError> {
    let file = tempfile::tempfile().unwrap();
    image.build(&file).map(|start| (file, start))
}

fn read<const N: usize>(file: &File, at: u64) -> [u8; N] {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes
}

#[test]
fn an_elf_kernel_is_entered_by_its_note_or_by_the_64_bit_protocol() {
    let kernel = elf(true);
    let (file, start) = built(image(&kernel)).unwrap();
    assert_eq!(start, VcpuStart { entry: Entry::Pvh, address: KERNEL_START + 1, parameters: PVH_START });
    assert_eq!(read(&file, KERNEL_START), [0xf4, 0xf4]);
    assert_eq!(read(&file, PVH_START), 0x336e_c578_u32.to_le_bytes());
    assert_eq!(&read(&file, MP_TABLE), b"_MP_");
    let line = b"virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6 quiet -- --guest\0";
    assert_eq!(&read(&file, COMMAND_LINE), line);
    assert_eq!(&read(&file, (128 << 20) - 4096), b"initramfs");

    let kernel = elf(false);
    let (file, start) = built(image(&kernel)).unwrap();
    assert_eq!(start, VcpuStart { entry: Entry::Linux64, address: KERNEL_START, parameters: ZERO_PAGE });
    assert_eq!(&read(&file, ZERO_PAGE + 0x202), b"HdrS");
    let refused = built(BootImage { entry: Some(Entry::Pvh), ..image(&kernel) }).unwrap_err();
    assert!(refused.to_string().contains("PVH"), "{refused}");
}

#[test]
fn with_acpi_the_tables_name_the_devices_and_the_command_line_does_not() {
    let kernel = elf(true);
    let (file, _) = built(BootImage { acpi: true, ..image(&kernel) }).unwrap();
    assert_eq!(&read(&file, ACPI_TABLES), b"RSD PTR ");
    assert_eq!(&read(&file, COMMAND_LINE), b"quiet -- --guest\0");
    assert_eq!(read(&file, MP_TABLE), [0; 4]);
    let tables: [u8; 4096] = read(&file, ACPI_TABLES);
    let found = |name: &[u8]| tables.windows(name.len()).any(|window| window == name);
    assert!([b"VR00", b"VR01", b"COM1", b"GED_", b"VGEN"].into_iter().all(|name| found(name)) && !found(b"VR02"));
}

#[test]
fn a_large_machine_is_sparse() {
    use std::os::unix::fs::MetadataExt;
    let kernel = elf(true);
    let (file, _) = built(BootImage { memory_mib: 10 * 1024, vcpus: 6, ..image(&kernel) }).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.len(), 10 << 30);
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
}

#[test]
fn what_can_not_be_a_machine_is_refused() {
    let kernel = elf(true);
    let good = image(&kernel);
    for (memory_mib, vcpus) in [(127, 1), (20_000, 1), (128, 0), (128, 7)] {
        let refused = built(BootImage { memory_mib, vcpus, ..good });
        assert!(matches!(refused, Err(BootImageError::Machine { .. })));
    }
    for command_line in ["x".repeat(2047).as_str(), "a\nb", "a\0b"] {
        assert!(matches!(built(BootImage { command_line, ..good }), Err(BootImageError::CommandLine { .. })));
    }
    let initrd = vec![1; 112 << 20];
    assert!(matches!(built(BootImage { initrd: &initrd, ..good }), Err(BootImageError::Initrd { .. })));
}

#[test]
fn a_wrong_kernel_is_refused_with_a_reason() {
    let good = elf(true);
    let wrong = |at: usize, bytes: &[u8]| {
        let mut kernel = good.clone();
        kernel[at..at + bytes.len()].copy_from_slice(bytes);
        let refused = built(image(&kernel)).err().unwrap_or_else(|| panic!("accepted with {bytes:?} at {at}"));
        assert!(matches!(refused, BootImageError::Kernel(_)), "{refused}");
    };
    wrong(0, b"#!/b");
    wrong(0x12, &[3]);
    wrong(0x20, &u64::MAX.to_le_bytes());
    wrong(0x38, &u16::MAX.to_le_bytes());
    wrong(64 + 8, &u64::MAX.to_le_bytes());
    wrong(64 + 24, &0_u64.to_le_bytes());
    wrong(64 + 24, &(1_u64 << 40).to_le_bytes());
    wrong(64 + 40, &u64::MAX.to_le_bytes());
    for length in 0..good.len() - 28 {
        assert!(built(image(&good[..length])).is_err(), "{length}");
    }
}
