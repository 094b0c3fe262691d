//! Which model-specific registers a guest may read and write: those a Linux guest needs. Any other is a general
//! protection fault in the guest, and never reaches KVM's code for it. Decision record 0102.

use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VmFd};

/// Everything a guest may touch, by the names of Intel's SDM (volume 4), AMD's APM (volume 2, appendix A) and Linux
/// (Documentation/virt/kvm/x86/msr.rst). The local APIC's own (x2APIC, 0x800 and on) are not subject to filters.
const ALLOWED: &[u32] = &[
    0x10,  // TIME_STAMP_COUNTER
    0x1b,  // APIC_BASE
    0x3a,  // FEATURE_CONTROL
    0x3b,  // TSC_ADJUST
    0x48,  // SPEC_CTRL
    0x49,  // PRED_CMD
    0x8b,  // BIOS_SIGN_ID
    0xfe,  // MTRR_CAP
    0x10a, // ARCH_CAPABILITIES
    0x10b, // FLUSH_CMD
    0x174,
    0x175,
    0x176, // SYSENTER_CS, _ESP, _EIP
    0x1a0, // MISC_ENABLE
    0x1d9, // DEBUG_CTL
    0x200,
    0x201,
    0x202,
    0x203,
    0x204,
    0x205,
    0x206,
    0x207, // MTRRs, variable
    0x208,
    0x209,
    0x20a,
    0x20b,
    0x20c,
    0x20d,
    0x20e,
    0x20f,
    0x250,
    0x258,
    0x259,
    0x268,
    0x269,
    0x26a,
    0x26b,
    0x26c,
    0x26d,
    0x26e,
    0x26f, // MTRRs, fixed
    0x277, // PAT
    0x2ff, // MTRR_DEF_TYPE
    0x6e0, // TSC_DEADLINE
    0x4b56_4d00,
    0x4b56_4d01, // kvmclock
    0x4b56_4d03,
    0x4b56_4d04,
    0x4b56_4d05, // steal time, PV EOI, poll control
    0xc000_0080,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084, // EFER, STAR, LSTAR, CSTAR, SFMASK
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
    0xc000_0103, // FS_BASE, GS_BASE, KERNEL_GS_BASE, TSC_AUX
    0xc001_0010,
    0xc001_0015,
    0xc001_001f, // AMD: SYSCFG, HWCR, NB_CFG
    0xc001_0055, // AMD: INT_PENDING_MSG, which Linux reads on CPUs with erratum 400
    0xc001_011f, // AMD: VIRT_SPEC_CTRL
    0xc001_1020,
    0xc001_1029, // AMD: LS_CFG, DE_CFG
];

/// Registers `first` to `first + 8 * N`, those of [`ALLOWED`] set.
const fn window<const N: usize>(first: u32) -> [u8; N] {
    let (mut map, mut at) = ([0; N], 0);
    while at < ALLOWED.len() {
        let offset = ALLOWED[at].wrapping_sub(first) as usize;
        if offset < 8 * N {
            map[offset / 8] |= 1 << (offset % 8);
        }
        at += 1;
    }
    map
}

/// KVM refuses what lies in none of these, too.
const WINDOWS: [(u32, &[u8]); 4] = [
    (0, &window::<0xe0>(0)),
    (0x4b56_4d00, &window::<1>(0x4b56_4d00)),
    (0xc000_0080, &window::<0x11>(0xc000_0080)),
    (0xc001_0000, &window::<0x206>(0xc001_0000)),
];

/// Installs the filter.
pub(super) fn confine(vm: &VmFd) -> Result<(), kvm_ioctls::Error> {
    let ranges = WINDOWS.map(|(base, bitmap)| MsrFilterRange {
        flags: MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE,
        base,
        msr_count: bitmap.len() as u32 * 8,
        bitmap,
    });
    vm.set_msr_filter(MsrFilterDefaultAction::DENY, &ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_hold_each_allowed_register_and_no_other() {
        let bits = |(base, map): (u32, &'static [u8])| {
            (0..map.len() as u32 * 8)
                .filter(move |bit| map[*bit as usize / 8] >> (bit % 8) & 1 == 1)
                .map(move |bit| base + bit)
        };
        let found: Vec<u32> = WINDOWS.into_iter().flat_map(bits).collect();
        assert_eq!(found, ALLOWED);
    }
}
