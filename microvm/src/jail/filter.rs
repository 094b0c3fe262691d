//! The seccomp filters of a jail, made once from [`super::policy`] and inherited by everything inside.
//!
//! Two programs: the first allows by list and answers `ENOSYS` to the rest; the second turns that into `EPERM` for
//! what should be told apart. Where both refuse, the kernel takes the answer of the one installed last.

use std::collections::BTreeMap;
use std::ffi::c_long;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::policy::{ALLOWED, ALLOWED_BY_ARCHITECTURE, REFUSED};

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// `clone` flags that make namespaces; `CLONE_NEWTIME` shares its bit with the exit signal of `clone`.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];
/// The part of a socket's type that is not `SOCK_CLOEXEC` or `SOCK_NONBLOCK`.
const SOCKET_TYPE: u64 = 0xf;
/// Execution domains a program may choose (those of `setarch` without a change of ABI), and "which is it?".
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The filters, in the order of their installation.
pub(super) fn programs() -> Result<[BpfProgram; 2], BackendError> {
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    Ok([
        compile(allowed()?, errno(libc::ENOSYS), SeccompAction::Allow)?,
        compile(refused()?, SeccompAction::Allow, errno(libc::EPERM))?,
    ])
}

fn compile(rules: Rules, otherwise: SeccompAction, matching: SeccompAction) -> Result<BpfProgram, BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, matching, architecture)?.try_into()
}

fn allowed() -> Result<Rules, BackendError> {
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_BY_ARCHITECTURE).map(|call| (*call, Vec::new())).collect();
    let no_namespace = NAMESPACES.iter().fold(0, |mask, flag| mask | u64::from(flag.cast_unsigned()));
    rules.insert(libc::SYS_clone, vec![rule([masked(0, no_namespace, 0)?])?]);
    rules.insert(libc::SYS_socket, allowed_sockets()?);
    let personalities = PERSONALITIES.iter().map(|value| rule([equal(0, *value)?])).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_personality, personalities);
    // Everything but putting input into a terminal.
    let not_terminal = [differs(1, libc::TIOCSTI)?, differs(1, libc::TIOCLINUX)?];
    rules.insert(libc::SYS_ioctl, vec![rule(not_terminal)?]);
    Ok(rules)
}

/// Unix sockets, streams and datagrams over IP, and asking which interfaces there are.
fn allowed_sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = vec![rule([equal(0, number(libc::AF_UNIX))?])?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            rules.push(rule([equal(0, number(family))?, masked(1, SOCKET_TYPE, number(kind))?])?);
        }
    }
    rules.push(rule([equal(0, number(libc::AF_NETLINK))?, equal(2, number(libc::NETLINK_ROUTE))?])?);
    Ok(rules)
}

fn refused() -> Result<Rules, BackendError> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let with_namespace = NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        rule([masked(0, flag, flag)?])
    });
    rules.insert(libc::SYS_clone, with_namespace.collect::<Result<_, _>>()?);
    let raw = masked(1, SOCKET_TYPE, number(libc::SOCK_RAW))?;
    let sockets = vec![
        rule([equal(0, number(libc::AF_INET))?, raw.clone()])?,
        rule([equal(0, number(libc::AF_INET6))?, raw])?,
        // Packet sockets and every later family.
        rule([condition(0, SeccompCmpOp::Gt, number(libc::AF_NETLINK))?])?,
    ];
    rules.insert(libc::SYS_socket, sockets);
    Ok(rules)
}

fn rule(conditions: impl IntoIterator<Item = SeccompCondition>) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect())
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn differs(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    condition(argument, SeccompCmpOp::Ne, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, BackendError> {
    condition(argument, SeccompCmpOp::MaskedEq(mask), value)
}

/// Compares the low 32 bits: what the kernel looks at in flags, families and commands.
fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn number(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_both_allowed_and_refused() {
        let allowed = allowed().unwrap();
        let both: Vec<_> = REFUSED.iter().filter(|call| allowed.contains_key(call)).collect();
        assert!(both.is_empty(), "{both:?}");
    }

    #[test]
    fn clone3_is_on_no_list_so_that_libc_falls_back_to_clone() {
        assert!(!allowed().unwrap().contains_key(&libc::SYS_clone3));
        assert!(!refused().unwrap().contains_key(&libc::SYS_clone3));
    }

    #[test]
    fn filters_fit_the_kernel() {
        const BPF_MAXINSNS: usize = 4096;
        for program in programs().unwrap() {
            assert!(!program.is_empty() && program.len() <= BPF_MAXINSNS, "{}", program.len());
        }
    }
}
