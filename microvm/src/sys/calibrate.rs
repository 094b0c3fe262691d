//! The same loop in a guest of three instructions and on this very processor, to compare how long each takes.
#![expect(unsafe_code, reason = "a guest's memory is given to KVM by its address; inline assembly; CPUID")]

use std::io;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

/// Memory of the guest, bytes, and where it begins: out of the way of the interrupt vectors.
const MEMORY_BYTES: usize = 4096;
const MEMORY_START: u64 = 0x1000;

/// A guest that counts down from what it is told and halts.
pub(crate) struct Countdown {
    // Dropped in this order: what uses the memory comes first.
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: Page,
}

/// A page of memory at an address that does not change.
struct Page(NonNull<u8>);

impl Countdown {
    /// Makes it.
    pub(crate) fn new(kvm: &Kvm) -> io::Result<Self> {
        let vm = kvm.create_vm()?;
        let memory = Page::new()?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: MEMORY_START,
            memory_size: MEMORY_BYTES as u64,
            userspace_addr: memory.0.as_ptr() as u64,
        };
        // SAFETY: the memory is mapped, as long as said, and outlives the machine (order of fields). Needed because KVM
        // takes the address on trust.
        unsafe { vm.set_user_memory_region(region) }?;
        let vcpu = vm.create_vcpu(0)?;
        let mut segments = vcpu.get_sregs()?;
        segments.cs.base = 0;
        segments.cs.selector = 0;
        vcpu.set_sregs(&segments)?;
        Ok(Self { vcpu, _vm: vm, memory })
    }

    /// How long the guest takes to count down from `rounds`.
    pub(crate) fn run(&mut self, rounds: u32) -> io::Result<Duration> {
        let [a, b, c, d] = rounds.to_le_bytes();
        // 16-bit code: mov ecx, rounds; again: dec ecx; jnz again; hlt
        let code = [0x66, 0xb9, a, b, c, d, 0x66, 0x49, 0x75, 0xfc, 0xf4];
        // SAFETY: the page is ours, larger than the code, and the guest does not run now. Needed to write to it.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), self.memory.0.as_ptr(), code.len()) };
        let mut registers = self.vcpu.get_regs()?;
        registers.rip = MEMORY_START;
        registers.rflags = 2;
        self.vcpu.set_regs(&registers)?;
        let start = Instant::now();
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::Hlt) => return Ok(start.elapsed()),
                Ok(other) => return Err(io::Error::other(format!("the guest stopped with {other:?}"))),
                Err(error) if error.errno() == libc::EINTR => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Page {
    fn new() -> io::Result<Self> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses. Needed because a guest's memory is whole pages.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), MEMORY_BYTES, access, kind, -1, 0) };
        match NonNull::new(page.cast::<u8>()) {
            Some(start) if page != libc::MAP_FAILED => Ok(Self(start)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, with this length, and used by nobody any more: the guest is gone.
        unsafe { libc::munmap(self.0.as_ptr().cast(), MEMORY_BYTES) };
    }
}

/// How long this processor takes for the same, without a guest.
pub(crate) fn native(rounds: u32) -> Duration {
    let start = Instant::now();
    // SAFETY: changes one register, which is declared. Needed to run the very instructions that the guest runs.
    unsafe {
        std::arch::asm!("2: dec {0:e}", "jnz 2b", inout(reg) rounds => _, options(nomem, nostack));
    }
    start.elapsed()
}

/// What emulates this machine's processor in software, if something says that it does (CPUID leaf 0x4000_0000).
pub(crate) fn emulator() -> Option<String> {
    const HYPERVISOR: u32 = 0x4000_0000;
    const HYPERVISOR_PRESENT: u32 = 1 << 31;
    // SAFETY: every x86-64 processor has CPUID. Needed because the intrinsic is unsafe for those that have not.
    #[allow(unused_unsafe, reason = "the intrinsic is safe in later versions of Rust")]
    let (features, name) = unsafe { (std::arch::x86_64::__cpuid(1), std::arch::x86_64::__cpuid(HYPERVISOR)) };
    let name = [name.ebx, name.ecx, name.edx].map(u32::to_le_bytes).concat();
    let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
    (features.ecx & HYPERVISOR_PRESENT != 0 && name.starts_with("TCG")).then_some(name)
}
