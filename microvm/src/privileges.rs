//! Giving up privileges: the steps of a child's script after which it has few capabilities or none, can't get any
//! back, and is under its seccomp filters.

use libc::{SYS_seccomp, SYS_setgroups, SYS_setresgid, SYS_setresuid};
use seccompiler::{BpfProgram, sock_filter};

use crate::program::prctl;
use crate::sys::script::{Arg, Script};

/// One bit for each capability in the kernel's structure.
const MAX_CAPABILITIES: u64 = 64;
/// `CAP_CHECKPOINT_RESTORE`, the last as of Linux 6.18; for hosts that hide the number.
const LAST_KNOWN_CAPABILITY: u64 = 40;
const CAPABILITY_VERSION_3: u64 = 0x2008_0522;

/// Takes on user and group 0 of the own namespace. Changing the user also forgets who asked to be told of the parent's
/// death: that is asked for later.
pub(crate) fn become_root_inside(script: &mut Script) {
    let zero = || Arg::Number(0);
    script.step("setgroups", SYS_setgroups, [zero(), zero()]);
    script.step("setresgid", SYS_setresgid, [zero(), zero(), zero()]);
    script.step("setresuid", SYS_setresuid, [zero(), zero(), zero()]);
}

/// Keeps the capabilities `kept` (numbers below 32) and no others, for good, and installs `filters` in order.
pub(crate) fn drop_privileges(script: &mut Script, kept: &[u64], filters: &[BpfProgram]) {
    let last = last_capability();
    for capability in (0..=last).filter(|capability| !kept.contains(capability)) {
        prctl(script, "drop a capability for good", libc::PR_CAPBSET_DROP, [capability, 0]);
    }
    prctl(script, "clear ambient capabilities", libc::PR_CAP_AMBIENT, [libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0]);
    prctl(script, "no new privileges", libc::PR_SET_NO_NEW_PRIVS, [1, 0]);
    let kept = kept.iter().fold(0_u64, |set, capability| set | 1 << capability);
    // struct __user_cap_data_struct [2]: effective, permitted, inheritable; all kept ones are in the low word.
    let header = Arg::Words(vec![CAPABILITY_VERSION_3]);
    let data = Arg::Words(vec![kept | kept << 32, 0, 0]);
    script.step("drop capabilities", libc::SYS_capset, [header, data]);
    for filter in filters {
        install_filter(script, filter);
    }
}

fn install_filter(script: &mut Script, filter: &BpfProgram) {
    let words = filter.iter().map(as_word).collect::<Vec<u64>>();
    // struct sock_fprog: a 16-bit count, then a pointer. The pointer is to memory of the script.
    let pointer = script.keep(words);
    let program = Arg::Words(vec![filter.len() as u64, pointer]);
    let mode = Arg::Number(u64::from(libc::SECCOMP_SET_MODE_FILTER));
    script.step("seccomp", SYS_seccomp, [mode, Arg::Number(0), program]);
}

/// One instruction as it lies in memory.
fn as_word(instruction: &sock_filter) -> u64 {
    let [code_low, code_high] = instruction.code.to_ne_bytes();
    let [a, b, c, d] = instruction.k.to_ne_bytes();
    u64::from_ne_bytes([code_low, code_high, instruction.jt, instruction.jf, a, b, c, d])
}

/// The highest capability of this kernel.
fn last_capability() -> u64 {
    let known = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap");
    known.ok().and_then(|number| number.trim().parse().ok()).unwrap_or(LAST_KNOWN_CAPABILITY).min(MAX_CAPABILITIES - 1)
}
