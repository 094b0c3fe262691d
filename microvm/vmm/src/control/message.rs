//! The messages, encoded with postcard. Both ends come from one build; [`VERSION`] tells when they don't.

use serde::{Deserialize, Serialize};

use crate::memory::Mapping;

/// Version of these messages.
pub const VERSION: u16 = 2;
/// Largest message, bytes; prefetch lists are cut to fit.
pub const MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// Which of the descriptors that came with a message, from 0.
pub type FdIndex = u8;

/// From the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// First: are we of one build? Answered by [`Reply::Hello`].
    Hello {
        /// [`VERSION`] of the launcher.
        version: u16,
        /// `/dev/kvm`, to make the VM ahead of time: after the answer, while nobody waits for it.
        kvm: Option<FdIndex>,
    },
    /// Makes the machine from a boot image. Once, or [`Self::Restore`] instead.
    Boot(Boot),
    /// Makes the machine from a snapshot.
    Restore(Restore),
    /// Runs the vCPUs, at first or again after [`Self::Pause`].
    Resume,
    /// Stops the vCPUs; devices come to rest before the answer.
    Pause,
    /// Writes the state of the paused machine to the descriptor that rides along. Its memory is what the memory file
    /// holds: the machine must have been made with [`Mapping::Shared`], and never runs again.
    Snapshot {
        /// Where the state goes.
        state: FdIndex,
    },
    /// Gives the empty code drive its image; the guest is told of its size.
    AttachCode {
        /// The image.
        image: FdIndex,
    },
    /// How much memory the balloon should take from the guest, MiB.
    SetBalloon {
        /// The target.
        mib: u32,
    },
    /// What the machine uses. Answered by [`Reply::Stats`].
    Stats,
    /// Ends the process at once.
    Stop,
}

/// A machine from a boot image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// vCPUs, 1 to 6.
    pub vcpus: u8,
    /// Memory and the file it maps.
    pub memory: MemoryFile,
    /// Where the first vCPU starts; others wait for its word.
    pub start: VcpuStart,
    /// Whether the image has ACPI tables; the devices that need them are there only then.
    pub acpi: bool,
    /// Devices.
    pub devices: Devices,
    /// As [`Restore::prefetch`]: what an earlier machine of the same image wrote while it booted.
    pub prefetch: Vec<(u32, u32)>,
    /// Whether to run at once.
    pub resume: bool,
    /// `/dev/kvm`.
    pub kvm: FdIndex,
}

/// A machine from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// The state, as [`Request::Snapshot`] wrote it; its checksum was verified by the launcher.
    pub state: FdIndex,
    /// Memory and the file it maps; usually [`Mapping::Private`].
    pub memory: MemoryFile,
    /// Devices: the same as were there, with this machine's own descriptors.
    pub devices: Devices,
    /// Pages that the guest will write at once, to copy before the first vCPU runs: (first page of the file, count).
    pub prefetch: Vec<(u32, u32)>,
    /// Whether to run at once.
    pub resume: bool,
    /// `/dev/kvm`.
    pub kvm: FdIndex,
}

/// Guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFile {
    /// The file.
    pub file: FdIndex,
    /// Size of the machine's memory, MiB.
    pub mib: u32,
    /// Where writes go.
    pub mapping: Mapping,
    /// Whether to ask for transparent huge pages.
    pub huge_pages: bool,
}

/// How a vCPU begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuStart {
    /// By which protocol.
    pub entry: Entry,
    /// First instruction, guest physical.
    pub address: u64,
    /// The boot parameters (`zero page`) or PVH start info, guest physical.
    pub parameters: u64,
}

/// Boot protocols of Linux on x86-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// PVH (Xen): 32-bit, paging off.
    Pvh,
    /// The 64-bit entry (Documentation/x86/boot.rst).
    Linux64,
}

/// The devices of a machine, each absent or with what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// Where the serial console's output goes: a file, or anything non-blocking (`O_NONBLOCK`).
    pub serial: Option<FdIndex>,
    /// The stream that vsock port [`crate::layout::CHANNEL_PORT`] of the host is joined to.
    pub channel: Option<FdIndex>,
    /// The runtime image.
    pub root: Option<Drive>,
    /// Whether there is a code drive, and its image if it has one already.
    pub code: Option<Drive>,
    /// Whether there is an entropy device.
    pub entropy: bool,
    /// Whether there is a balloon with free-page reporting.
    pub balloon: bool,
    /// Network.
    pub net: Option<Net>,
}

/// A read-only block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// The image; an empty drive until [`Request::AttachCode`] without.
    pub image: Option<FdIndex>,
    /// Bytes per second, if limited.
    pub bandwidth: Option<RateLimit>,
    /// Requests per second, if limited.
    pub requests: Option<RateLimit>,
}

/// A network device on a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// The tap, opened non-blocking with `IFF_TAP | IFF_NO_PI | IFF_VNET_HDR`, its header left at ten bytes.
    pub tap: FdIndex,
    /// The guest's address.
    pub mac: [u8; 6],
    /// Bytes per second each way, if limited.
    pub bandwidth: Option<RateLimit>,
    /// Packets per second each way, if limited.
    pub packets: Option<RateLimit>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Tokens at most at once.
    pub burst: u64,
    /// Tokens gained each second.
    pub per_second: u64,
}

/// From `hearth-vmm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromVmm {
    /// To the oldest request that has none.
    Reply(Reply),
    /// Unasked.
    Event(Event),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Hello`].
    Hello {
        /// [`VERSION`] of this process.
        version: u16,
    },
    /// It is done.
    Done,
    /// To [`Request::Stats`].
    Stats(VmmStats),
    /// It is not done; the machine is as before, or was never made.
    Failed {
        /// What failed and why.
        reason: String,
    },
}

/// What happened without a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The machine stopped for good; the process ends after this.
    Stopped(StopReason),
}

/// Why a machine stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// The guest asked for it: reset through the keyboard controller, or a triple fault (how `reboot=t` resets).
    Reset,
    /// KVM could not go on.
    Failed {
        /// KVM's word.
        reason: String,
    },
}

/// What a machine uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmmStats {
    /// Where guest memory is mapped in the process, for who reads its page map; low region, then high.
    pub memory_mapped_at: [u64; 2],
    /// What the balloon holds, MiB.
    pub balloon_mib: u32,
    /// Bytes that the guest reported free and that were given back since the start.
    pub reported_bytes: u64,
    /// Bytes read through the drives.
    pub drive_bytes: u64,
    /// Exits to this process.
    pub exits: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_small_and_comes_back_as_it_was() {
        let request = Request::AttachCode { image: 0 };
        let bytes = postcard::to_stdvec(&request).unwrap();
        assert!(bytes.len() <= 2);
        assert_eq!(postcard::from_bytes::<Request>(&bytes).unwrap(), request);
    }
}
