//! Where things are in the guest's physical address space. A boot image, a snapshot and a running machine agree on it.
//!
//! | from | what |
//! | --- | --- |
//! | 0 | RAM, up to 3 GiB |
//! | 0x1000 | [`GDT`], [`PVH_START`], [`ZERO_PAGE`], [`PAGE_TABLES`], [`COMMAND_LINE`]: read once by the kernel, then free |
//! | 0x0009_fc00 | [`MP_TABLE`] (no ACPI), end of conventional memory |
//! | 0x000e_0000 | [`ACPI_TABLES`], [`VMGENID`]; reserved |
//! | 16 MiB | kernel, as it was linked; the initramfs at the end of the lower RAM |
//! | 3 GiB | hole: [`MMIO_BASE`] devices, [`IO_APIC`], [`LOCAL_APIC`], [`IDENTITY_MAP`] and [`TSS`] of KVM |
//! | 4 GiB | the rest of RAM |

/// Segment descriptors for the 64-bit entry.
pub const GDT: u64 = 0x1000;
/// PVH start info, its list of modules and its memory map; one page.
pub const PVH_START: u64 = 0x6000;
/// Boot parameters of the 64-bit entry; one page.
pub const ZERO_PAGE: u64 = 0x7000;
/// Page tables of the 64-bit entry, which map the first GiB to itself; three pages.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// End of conventional memory; the MP floating pointer must lie in its last KiB (MP specification 1.4, 4).
pub const MP_TABLE: u64 = 0x9_fc00;
/// End of the KiB that [`MP_TABLE`] has.
pub const MP_TABLE_END: u64 = 0xa_0000;
/// ACPI tables, the root pointer first; up to [`VMGENID`].
pub const ACPI_TABLES: u64 = 0xe_0000;
/// The 16 bytes that change with every restore (VMGenID); eight-byte aligned, never RAM to the guest.
pub const VMGENID: u64 = 0xf_f000;
/// RAM goes on here after the hole that PCs have had below 1 MiB; no kernel lies lower.
pub const HIGH_MEMORY: u64 = 0x10_0000;
/// The I/O APIC that KVM emulates.
pub const IO_APIC: u32 = 0xfec0_0000;
/// The local APICs that KVM emulates.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// A page that KVM takes on Intel for a guest without paging.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages that KVM takes on Intel for a guest in real mode.
pub const TSS: u64 = 0xfffb_d000;
/// RAM below the hole, bytes at most.
pub const LOW_RAM_MAX_BYTES: u64 = 3 << 30;
/// Where RAM goes on above the hole.
pub const HIGH_RAM_START: u64 = 4 << 30;
/// First virtio-mmio device; the others follow at [`MMIO_STRIDE`].
pub const MMIO_BASE: u64 = 0xd000_0000;
/// Bytes of address space for each virtio-mmio device.
pub const MMIO_STRIDE: u64 = 0x1000;
/// First interrupt line (GSI) of the virtio-mmio devices.
pub const MMIO_FIRST_IRQ: u32 = 5;
/// First port of the serial console (`ttyS0`); eight ports.
pub const SERIAL_PORT: u16 = 0x3f8;
/// Interrupt line of the serial console.
pub const SERIAL_IRQ: u32 = 4;
/// First port of the keyboard controller, of which only the reset line exists.
pub const I8042_PORT: u16 = 0x60;
/// Interrupt line of the generic event device (ACPI), by which VMGenID tells of a restore.
pub const GED_IRQ: u32 = 13;

/// The virtio-mmio devices. Each has its slot for good, present or not, so that addresses and interrupt lines are the
/// same in every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum Slot {
    /// The channel to the shim.
    Vsock = 0,
    /// The runtime image (`/dev/vda` in the guest).
    Root = 1,
    /// The code image (`/dev/vdb`), empty until attached.
    Code = 2,
    /// Entropy.
    Entropy = 3,
    /// Balloon and free-page reporting.
    Balloon = 4,
    /// Network.
    Net = 5,
}

impl Slot {
    /// All slots, in order.
    pub const ALL: [Self; 6] = [Self::Vsock, Self::Root, Self::Code, Self::Entropy, Self::Balloon, Self::Net];

    /// Guest physical address of the device's registers.
    #[must_use]
    pub const fn address(self) -> u64 {
        MMIO_BASE + self as u64 * MMIO_STRIDE
    }

    /// Its interrupt line.
    #[must_use]
    pub const fn irq(self) -> u32 {
        MMIO_FIRST_IRQ + self as u32
    }
}

/// Context id of the guest on vsock; each microVM has a device of its own, so all can have the same.
pub const GUEST_CID: u64 = 3;
/// Context id of the host on vsock.
pub const HOST_CID: u64 = 2;
/// The one port of the host that a guest can connect to: the channel to the worker.
pub const CHANNEL_PORT: u32 = 1024;
