//! Whether this host can run a vCPU that was made on another (or before a change of kernel or microcode).
//!
//! A guest looks at CPUID once, when it boots, and patches itself for what it finds; so every feature that it was told
//! of must be here. What only counts or names (cache sizes, topology, model) may differ.

use kvm_bindings::{KVM_CAP_TSC_CONTROL, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::Kvm;

use super::{MachineState, Refusal, StateError, tsc};

/// What this host offers to guests.
#[derive(Debug, Clone)]
pub struct HostCpu {
    /// `KVM_GET_SUPPORTED_CPUID`.
    pub cpuid: Vec<kvm_cpuid_entry2>,
    /// Speed of its time stamp counter, kHz.
    pub tsc_khz: u32,
    /// Whether a guest's counter may run at another speed.
    pub scales_tsc: bool,
}

/// The registers whose bits are features: leaf, subleaf, register, and the bits that say something else: that depend
/// on how the guest sets itself up, or that KVM provides whatever the CPU.
const FEATURES: [(u32, u32, Register, u32); 17] = [
    // Not compared: TSC deadline, OSXSAVE, hypervisor.
    (1, 0, Register::Ecx, 1 << 24 | 1 << 27 | 1 << 31),
    // Hyper-threading: topology.
    (1, 0, Register::Edx, 1 << 28),
    (7, 0, Register::Ebx, 0),
    // OSPKE.
    (7, 0, Register::Ecx, 1 << 4),
    (7, 0, Register::Edx, 0),
    (7, 1, Register::Eax, 0),
    (7, 1, Register::Edx, 0),
    // State components of XCR0, and how they are saved.
    (0xd, 0, Register::Eax, 0),
    (0xd, 0, Register::Edx, 0),
    (0xd, 1, Register::Eax, 0),
    (0x4000_0001, 0, Register::Eax, 0),
    // Two bits of topology.
    (0x8000_0001, 0, Register::Ecx, 1 << 1 | 1 << 22),
    (0x8000_0001, 0, Register::Edx, 0),
    (0x8000_0007, 0, Register::Edx, 0),
    (0x8000_0008, 0, Register::Ebx, 0),
    (0x8000_000a, 0, Register::Edx, 0),
    (0x8000_0021, 0, Register::Eax, 0),
];

/// The features that a refusal is likely to be about, by the name that `/proc/cpuinfo` has for them.
const NAMES: [(u32, Register, u32, &str); 28] = [
    (1, Register::Ecx, 0, "sse3"),
    (1, Register::Ecx, 1, "pclmulqdq"),
    (1, Register::Ecx, 9, "ssse3"),
    (1, Register::Ecx, 12, "fma"),
    (1, Register::Ecx, 13, "cx16"),
    (1, Register::Ecx, 19, "sse4_1"),
    (1, Register::Ecx, 20, "sse4_2"),
    (1, Register::Ecx, 21, "x2apic"),
    (1, Register::Ecx, 22, "movbe"),
    (1, Register::Ecx, 23, "popcnt"),
    (1, Register::Ecx, 25, "aes"),
    (1, Register::Ecx, 26, "xsave"),
    (1, Register::Ecx, 28, "avx"),
    (1, Register::Ecx, 29, "f16c"),
    (1, Register::Ecx, 30, "rdrand"),
    (7, Register::Ebx, 0, "fsgsbase"),
    (7, Register::Ebx, 3, "bmi1"),
    (7, Register::Ebx, 5, "avx2"),
    (7, Register::Ebx, 8, "bmi2"),
    (7, Register::Ebx, 9, "erms"),
    (7, Register::Ebx, 10, "invpcid"),
    (7, Register::Ebx, 16, "avx512f"),
    (7, Register::Ebx, 18, "rdseed"),
    (7, Register::Ebx, 19, "adx"),
    (7, Register::Ebx, 29, "sha_ni"),
    (0x8000_0001, Register::Ecx, 5, "lzcnt"),
    (0x8000_0001, Register::Edx, 26, "1 GiB pages"),
    (0x8000_0001, Register::Edx, 27, "rdtscp"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

impl Register {
    fn of(self, entry: &kvm_cpuid_entry2) -> u32 {
        match self {
            Self::Eax => entry.eax,
            Self::Ebx => entry.ebx,
            Self::Ecx => entry.ecx,
            Self::Edx => entry.edx,
        }
    }
}

impl HostCpu {
    /// Asks KVM. Makes a machine of one vCPU for it, because only a vCPU tells its counter's speed: once a process.
    pub fn probe(kvm: &Kvm) -> Result<Self, StateError> {
        let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(StateError::get("supported CPUID"))?;
        let vm = kvm.create_vm().map_err(StateError::get("capabilities"))?;
        let vcpu = vm.create_vcpu(0).map_err(StateError::get("capabilities"))?;
        Ok(Self {
            cpuid: cpuid.as_slice().to_vec(),
            tsc_khz: vcpu.get_tsc_khz().map_err(StateError::get("speed of the time stamp counter"))?,
            scales_tsc: kvm.check_extension_raw(u64::from(KVM_CAP_TSC_CONTROL)) > 0,
        })
    }

    /// Refuses a machine that can't go on here.
    pub fn admit(&self, machine: &MachineState) -> Result<(), Refusal> {
        for vcpu in &machine.vcpus {
            let missing = self.missing(&vcpu.cpuid);
            if !missing.is_empty() {
                return Err(Refusal::Cpu { missing });
            }
            let snapshot = vcpu.tsc.khz;
            if !self.scales_tsc && tsc::differs(snapshot, self.tsc_khz) {
                return Err(Refusal::TscFrequency { snapshot, host: self.tsc_khz });
            }
        }
        Ok(())
    }

    /// What a guest that was told `cpuid` would miss here, by name.
    #[must_use]
    pub fn missing(&self, cpuid: &[kvm_cpuid_entry2]) -> Vec<String> {
        let (there, here) = (vendor(cpuid), vendor(&self.cpuid));
        if there != here {
            // Other ways to call the kernel, other errata: nothing else needs to be compared.
            return vec![format!("the maker {there} (it is {here})")];
        }
        let mut missing = Vec::new();
        for (leaf, subleaf, register, not_compared) in FEATURES {
            let bits = |entries| find(entries, leaf, subleaf).map_or(0, |entry| register.of(entry));
            let lacking = bits(cpuid) & !bits(&self.cpuid) & !not_compared;
            missing.extend((0..32).filter(|bit| lacking >> bit & 1 == 1).map(|bit| name(leaf, subleaf, register, bit)));
        }
        let address_bits = |entries| find(entries, 0x8000_0008, 0).map_or(0, |entry| entry.eax & 0xff);
        if address_bits(cpuid) > address_bits(&self.cpuid) {
            missing.push(format!("{} bits of physical address", address_bits(cpuid)));
        }
        missing
    }
}

fn find(entries: &[kvm_cpuid_entry2], leaf: u32, subleaf: u32) -> Option<&kvm_cpuid_entry2> {
    entries.iter().find(|entry| (entry.function, entry.index) == (leaf, subleaf))
}

fn vendor(entries: &[kvm_cpuid_entry2]) -> String {
    let Some(entry) = find(entries, 0, 0) else { return "unknown".to_owned() };
    let bytes = [entry.ebx, entry.edx, entry.ecx].map(u32::to_le_bytes).concat();
    String::from_utf8_lossy(&bytes).escape_debug().to_string()
}

fn name(leaf: u32, subleaf: u32, register: Register, bit: u32) -> String {
    let known = NAMES.iter().find(|known| subleaf == 0 && (known.0, known.1, known.2) == (leaf, register, bit));
    match known {
        Some((.., name)) => (*name).to_owned(),
        None => format!("CPUID {leaf:#x}.{subleaf}:{register:?} bit {bit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32, ecx: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function, ecx, ..Default::default() }
    }

    fn host(entries: &[kvm_cpuid_entry2]) -> HostCpu {
        HostCpu { cpuid: entries.to_vec(), tsc_khz: 2_000_000, scales_tsc: false }
    }

    #[test]
    fn a_host_may_have_more_and_must_not_have_less() {
        let (less, more) = ([leaf(1, 1 << 20)], [leaf(1, 1 << 20 | 1 << 25)]);
        assert_eq!(host(&more).missing(&less), Vec::<String>::new());
        assert_eq!(host(&less).missing(&more), ["aes"]);
        assert_eq!(host(&[]).missing(&[leaf(0x8000_0001, 1 << 9)]), ["CPUID 0x80000001.0:Ecx bit 9"]);
    }

    #[test]
    fn what_a_guest_turned_on_itself_is_no_feature() {
        assert_eq!(host(&[]).missing(&[leaf(1, 1 << 27 | 1 << 31)]), Vec::<String>::new());
    }

    #[test]
    fn another_maker_is_all_that_is_said() {
        let intel = kvm_cpuid_entry2 { ebx: 0x756e_6547, edx: 0x4965_6e69, ecx: 0x6c65_746e, ..Default::default() };
        let amd = kvm_cpuid_entry2 { ebx: 0x6874_7541, edx: 0x6974_6e65, ecx: 0x444d_4163, ..Default::default() };
        let missing = host(&[amd]).missing(&[intel, leaf(1, 1 << 25)]);
        assert_eq!(missing, ["the maker GenuineIntel (it is AuthenticAMD)"]);
    }
}
