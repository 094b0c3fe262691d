//! The CPU that guests see: what KVM offers, cut down to an allow-list, so that hosts of one fleet show the same.
//!
//! What is not named here a guest does not have: no AVX-512, AMX, TSX, protection keys, performance counters, nested
//! virtualisation, machine checks, MONITOR; no leaf that tells of frequencies, power or the host's topology. Vendor,
//! family, model and stepping stay, because kernels choose their defences by them. Decision record 0101.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Bits of a register that a guest may see.
struct Allowed {
    leaf: u32,
    index: u32,
    eax: u32,
    ebx: u32,
    ecx: u32,
    edx: u32,
}

const ALL: u32 = u32::MAX;

const fn allow(leaf: u32, index: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> Allowed {
    Allowed { leaf, index, eax, ebx, ecx, edx }
}

const fn bits(numbers: &[u32]) -> u32 {
    let (mut mask, mut at) = (0, 0);
    while at < numbers.len() {
        mask |= 1 << numbers[at];
        at += 1;
    }
    mask
}

// Names as in Intel SDM volume 2 (CPUID) and AMD APM volume 3 (appendix E).

/// SSE3 PCLMULQDQ SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline AES XSAVE AVX F16C RDRAND hypervisor.
const FEATURES_ECX: u32 = bits(&[0, 1, 9, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30, 31]);
/// FPU VME DE PSE TSC MSR PAE CX8 APIC SEP MTRR PGE CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 SS HTT.
const FEATURES_EDX: u32 = bits(&[0, 1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 15, 16, 17, 19, 23, 24, 25, 26, 27, 28]);
/// FSGSBASE TSC_ADJUST BMI1 AVX2 FDP_EXCPTN SMEP BMI2 ERMS INVPCID ZERO_FCS RDSEED ADX SMAP CLFLUSHOPT CLWB SHA.
const EXTENDED_EBX: u32 = bits(&[0, 1, 3, 5, 6, 7, 8, 9, 10, 13, 18, 19, 20, 23, 24, 29]);
/// UMIP RDPID.
const EXTENDED_ECX: u32 = bits(&[2, 22]);
/// FSRM MD_CLEAR IBRS/IBPB STIBP L1D_FLUSH ARCH_CAPABILITIES SSBD.
const EXTENDED_EDX: u32 = bits(&[4, 10, 26, 27, 28, 29, 31]);
/// XSAVEOPT XSAVEC XGETBV1.
const XSAVE_EAX: u32 = bits(&[0, 1, 2]);
/// x87, SSE and AVX state.
const XSAVE_STATES: u32 = bits(&[0, 1, 2]);
/// LAHF CMP_LEGACY CR8_LEGACY LZCNT SSE4A MISALIGNSSE PREFETCHW TOPOEXT.
const AMD_ECX: u32 = bits(&[0, 1, 4, 5, 6, 7, 8, 22]);
/// The bits of leaf 1, SYSCALL NX MMXEXT FXSR_OPT 1GB-pages RDTSCP LM.
const AMD_EDX: u32 = bits(&[0, 1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 15, 16, 17, 20, 22, 23, 24, 25, 26, 27, 29]);
/// CLZERO XSAVEERPTR IBPB IBRS STIBP and how they are best used, SSBD in its three forms.
const AMD_DEFENCES: u32 = bits(&[0, 2, 12, 14, 15, 16, 17, 18, 19, 24, 25, 26]);
/// LFENCE serialises, null selectors clear, automatic IBRS.
const AMD_MORE: u32 = bits(&[2, 6, 8]);
/// Clock, no I/O delay, new clock MSRs, steal time, PV EOI, PV unhalt, TLB flush, IPIs, poll control, yield, stable
/// clock. No asynchronous page faults: they would be under way in a snapshot.
const KVM_FEATURES: u32 = bits(&[0, 1, 3, 5, 6, 7, 9, 11, 12, 13, 24]);

const KVM_LEAF: u32 = 0x4000_0000;
const KVM_FEATURE_LEAF: u32 = 0x4000_0001;
const BASIC_MAX: u32 = 0xd;
const EXTENDED_MAX: u32 = 0x8000_0021;

const ALLOWED: &[Allowed] = &[
    allow(0, 0, [ALL; 4]),
    allow(1, 0, [ALL, 0x0000_ff00, FEATURES_ECX, FEATURES_EDX]),
    allow(2, 0, [ALL; 4]),
    allow(4, 0, [ALL; 4]),
    allow(4, 1, [ALL; 4]),
    allow(4, 2, [ALL; 4]),
    allow(4, 3, [ALL; 4]),
    allow(4, 4, [ALL; 4]),
    allow(6, 0, [1 << 2, 0, 0, 0]),
    allow(7, 0, [0, EXTENDED_EBX, EXTENDED_ECX, EXTENDED_EDX]),
    allow(0xd, 0, [XSAVE_STATES, ALL, ALL, 0]),
    allow(0xd, 1, [XSAVE_EAX, 0, 0, 0]),
    allow(0xd, 2, [ALL; 4]),
    allow(KVM_LEAF, 0, [ALL; 4]),
    allow(KVM_FEATURE_LEAF, 0, [KVM_FEATURES, 0, 0, 0]),
    allow(0x8000_0000, 0, [ALL; 4]),
    allow(0x8000_0001, 0, [ALL, 0, AMD_ECX, AMD_EDX]),
    allow(0x8000_0002, 0, [ALL; 4]),
    allow(0x8000_0003, 0, [0; 4]),
    allow(0x8000_0004, 0, [0; 4]),
    allow(0x8000_0005, 0, [ALL; 4]),
    allow(0x8000_0006, 0, [ALL; 4]),
    allow(0x8000_0008, 0, [ALL, AMD_DEFENCES, 0, 0]),
    allow(0x8000_001e, 0, [ALL; 4]),
    allow(0x8000_0021, 0, [AMD_MORE, 0, 0, 0]),
];

/// What the guest reads as the processor's name; zeros follow, up to 48 bytes.
const NAME: &[u8; 16] = b"Hearth microVM\0\0";

/// The CPUs of a machine: what KVM supports, filtered.
pub(super) struct Template {
    entries: Vec<kvm_cpuid_entry2>,
    vcpus: u8,
}

impl Template {
    /// Of `supported` for a machine of `vcpus`.
    pub(super) fn new(supported: &CpuId, vcpus: u8) -> Self {
        let mut entries: Vec<_> = supported.as_slice().iter().filter_map(filtered).collect();
        let has_avx = entries.iter().any(|entry| entry.function == 1 && entry.ecx & bits(&[28]) != 0);
        entries.retain(|entry| (entry.function, entry.index) != (0xd, 2) || has_avx);
        for entry in &mut entries {
            settle(entry, has_avx);
        }
        if !entries.iter().any(|entry| entry.function == 0xb) {
            entries.extend([0, 1].map(|index| kvm_cpuid_entry2 {
                function: 0xb,
                index,
                flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                ..kvm_cpuid_entry2::default()
            }));
        }
        Self { entries, vcpus }
    }

    /// The states that `XSAVE` can save, as `XCR0` counts them; 0 without `XSAVE`.
    pub(super) fn extended_states(&self) -> u64 {
        let has_xsave = self.entries.iter().any(|entry| entry.function == 1 && entry.ecx & bits(&[26]) != 0);
        let states = self.entries.iter().find(|entry| (entry.function, entry.index) == (0xd, 0));
        states.filter(|_| has_xsave).map_or(0, |entry| entry.eax.into())
    }

    /// For vCPU `id`, which is also its APIC id: one socket, a core for each, no threads.
    pub(super) fn of(&self, id: u8) -> Result<CpuId, kvm_ioctls::Error> {
        let (cores, id) = (u32::from(self.vcpus), u32::from(id));
        let id_bits = cores.next_power_of_two().trailing_zeros();
        let mut entries = self.entries.clone();
        for entry in &mut entries {
            match (entry.function, entry.index) {
                (1, _) => {
                    entry.ebx = (entry.ebx & 0xff00) | id << 24 | cores << 16;
                    set_bit(&mut entry.edx, 28, cores > 1);
                }
                // Caches: shared by none but the last level; and the number of cores.
                (4, index) if entry.eax & 0x1f != 0 => {
                    let sharing = if index == 3 { (1 << id_bits) - 1 } else { 0 };
                    entry.eax = (entry.eax & 0x3fff) | sharing << 14 | ((1 << id_bits) - 1) << 26;
                }
                (0xb, 0) => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 1, 1 << 8, id),
                (0xb, 1) => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (id_bits, cores, 2 << 8 | 1, id),
                (0x8000_0001, _) => {
                    let has_amd_topology = entry.ecx & bits(&[22]) != 0;
                    set_bit(&mut entry.ecx, 1, cores > 1 && has_amd_topology);
                }
                (0x8000_0008, _) => entry.ecx = id_bits << 12 | (cores - 1),
                (0x8000_001e, _) => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (id, id, 0, 0),
                _ => {}
            }
        }
        CpuId::from_entries(&entries).map_err(|_| kvm_ioctls::Error::new(libc::E2BIG))
    }
}

fn filtered(entry: &kvm_cpuid_entry2) -> Option<kvm_cpuid_entry2> {
    let allowed = ALLOWED.iter().find(|allowed| (allowed.leaf, allowed.index) == (entry.function, entry.index))?;
    Some(kvm_cpuid_entry2 {
        eax: entry.eax & allowed.eax,
        ebx: entry.ebx & allowed.ebx,
        ecx: entry.ecx & allowed.ecx,
        edx: entry.edx & allowed.edx,
        ..*entry
    })
}

/// What is the same for all vCPUs of a machine.
fn settle(entry: &mut kvm_cpuid_entry2, has_avx: bool) {
    const DEADLINE_TIMER: u32 = 24;
    const HYPERVISOR: u32 = 31;
    const LEGACY_STATE_BYTES: u32 = 576;
    const AVX_STATE_BYTES: u32 = 832;
    match (entry.function, entry.index) {
        (0, _) => entry.eax = BASIC_MAX,
        // KVM's own local APIC has the timer, whatever the host's; KVM leaves it to us to say so.
        (1, _) => entry.ecx |= bits(&[DEADLINE_TIMER, HYPERVISOR]),
        (0xd, 0) if !has_avx => {
            (entry.eax, entry.ebx, entry.ecx) = (entry.eax & 3, LEGACY_STATE_BYTES, LEGACY_STATE_BYTES);
        }
        (0xd, 0) => (entry.ebx, entry.ecx) = (AVX_STATE_BYTES, AVX_STATE_BYTES),
        (KVM_LEAF, _) => entry.eax = KVM_FEATURE_LEAF,
        (0x8000_0000, _) => entry.eax = entry.eax.min(EXTENDED_MAX),
        (0x8000_0002, _) => {
            let word = |at: usize| NAME[at..at + 4].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
            (entry.eax, entry.ebx, entry.ecx, entry.edx) = (word(0), word(4), word(8), word(12));
        }
        _ => {}
    }
}

fn set_bit(register: &mut u32, bit: u32, value: bool) {
    *register = (*register & !(1 << bit)) | u32::from(value) << bit;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CPU that has everything, and `value` in what is not a feature.
    fn host(value: u32, leaves: &[(u32, u32)]) -> CpuId {
        let entries = leaves.iter().map(|&(function, index)| kvm_cpuid_entry2 {
            function,
            index,
            eax: value,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
            ..kvm_cpuid_entry2::default()
        });
        CpuId::from_entries(&entries.collect::<Vec<_>>()).unwrap()
    }

    fn leaf(cpuid: &CpuId, function: u32, index: u32) -> Option<&kvm_cpuid_entry2> {
        cpuid.as_slice().iter().find(|entry| (entry.function, entry.index) == (function, index))
    }

    const LEAVES: [(u32, u32); 12] = [
        (0, 0),
        (1, 0),
        (4, 3),
        (7, 0),
        (7, 1),
        (0xa, 0),
        (0xd, 0),
        (0xd, 2),
        (0xd, 9),
        (KVM_LEAF, 0),
        (0x8000_0001, 0),
        (0x8000_0008, 0),
    ];

    #[test]
    fn what_is_not_named_a_guest_does_not_have() {
        let cpuid = Template::new(&host(u32::MAX, &LEAVES), 1).of(0).unwrap();
        for (function, index) in [(0xa, 0), (7, 1), (0xd, 9), (0x14, 0)] {
            assert!(leaf(&cpuid, function, index).is_none(), "{function:#x}");
        }
        let (basic, extended) = (leaf(&cpuid, 1, 0).unwrap(), leaf(&cpuid, 7, 0).unwrap());
        const VMX_MONITOR: u32 = 1 << 5 | 1 << 3;
        const MACHINE_CHECK: u32 = 1 << 7 | 1 << 14;
        const AVX512F_RTM_HLE: u32 = 1 << 16 | 1 << 11 | 1 << 4;
        const PKU: u32 = 1 << 3;
        assert_eq!(basic.ecx & VMX_MONITOR | basic.edx & MACHINE_CHECK, 0);
        assert_eq!(extended.ebx & AVX512F_RTM_HLE | extended.ecx & PKU, 0);
        assert_eq!(leaf(&cpuid, 0x8000_0001, 0).unwrap().ecx & 1 << 2, 0, "nested virtualisation");
        assert_eq!(leaf(&cpuid, 0, 0).unwrap().eax, BASIC_MAX);
        let states = leaf(&cpuid, 0xd, 0).unwrap();
        assert_eq!((states.eax, states.ebx, states.ecx), (7, 832, 832));
    }

    #[test]
    fn without_avx_there_is_neither_its_state_nor_room_for_it() {
        let mut supported = host(7, &LEAVES);
        supported.as_mut_slice()[1].ecx &= !(1 << 28);
        let template = Template::new(&supported, 1);
        let cpuid = template.of(0).unwrap();
        assert!(leaf(&cpuid, 0xd, 2).is_none());
        assert_eq!((leaf(&cpuid, 0xd, 0).unwrap().eax, leaf(&cpuid, 0xd, 0).unwrap().ecx), (3, 576));
        assert_eq!(template.extended_states(), 3);
        supported.as_mut_slice()[1].ecx &= !(1 << 26);
        assert_eq!(Template::new(&supported, 1).extended_states(), 0);
    }

    #[test]
    fn each_vcpu_is_a_core_of_one_socket() {
        for vcpus in 1..=6 {
            let template = Template::new(&host(0, &LEAVES), vcpus);
            for id in 0..vcpus {
                let cpuid = template.of(id).unwrap();
                let basic = leaf(&cpuid, 1, 0).unwrap();
                assert_eq!(basic.ebx >> 24, u32::from(id));
                assert_eq!(basic.ebx >> 16 & 0xff, u32::from(vcpus));
                assert_eq!(basic.edx >> 28 & 1, u32::from(vcpus > 1));
                let cores = leaf(&cpuid, 0xb, 1).unwrap();
                assert_eq!((cores.ebx, cores.edx), (vcpus.into(), id.into()));
                assert!(1 << cores.eax >= vcpus && (1 << cores.eax) < 2 * vcpus.max(1), "{vcpus}: {}", cores.eax);
                assert_eq!(leaf(&cpuid, 0x8000_0008, 0).unwrap().ecx & 0xff, u32::from(vcpus) - 1);
            }
        }
    }
}
