//! The seccomp filter of a jail, made once from [`super::policy`] and inherited by everything inside.
//!
//! It allows by list, answers `EPERM` to what should be told apart and `ENOSYS` to the rest. For most calls the number
//! decides, and is found in a [`tree`]; for a few the arguments do.

mod tree;

use std::collections::BTreeMap;
use std::ffi::c_long;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use tree::Say;

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

/// The filter.
pub(super) fn program() -> Result<BpfProgram, BackendError> {
    let (allowed, allowed_if) = by_arguments(allowed()?);
    let (refused, refused_if) = by_arguments(refused()?);
    let mut said = BTreeMap::new();
    said.extend(refused.into_iter().map(|call| (call, Say::Answer(errno(libc::EPERM).into()))));
    said.extend(allowed.into_iter().map(|call| (call, Say::Answer(SeccompAction::Allow.into()))));
    said.extend(refused_if.keys().chain(allowed_if.keys()).map(|call| (*call, Say::Ask)));
    let questions = vec![
        compile(allowed_if, errno(libc::ENOSYS), SeccompAction::Allow)?,
        compile(refused_if, errno(libc::ENOSYS), errno(libc::EPERM))?,
    ];
    Ok(tree::program(&said, errno(libc::ENOSYS).into(), questions))
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// Calls that are meant whatever their arguments, and the others with theirs.
fn by_arguments(rules: Rules) -> (Vec<c_long>, Rules) {
    let (always, sometimes): (Rules, Rules) = rules.into_iter().partition(|(_, rules)| rules.is_empty());
    (always.into_keys().collect(), sometimes)
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

    /// As the kernel does it: what a program answers to a call.
    fn answer(program: &BpfProgram, architecture: u32, number: u32, arguments: [u64; 3]) -> u32 {
        let mut seen = [number.to_ne_bytes(), architecture.to_ne_bytes(), [0; 4], [0; 4]].concat();
        arguments.iter().for_each(|argument| seen.extend(argument.to_ne_bytes()));
        let (mut at, mut value) = (0, 0_u32);
        loop {
            let step = &program[at];
            at += 1;
            let jump = |condition: bool| usize::from(if condition { step.jt } else { step.jf });
            match step.code {
                0x20 => {
                    let place = step.k as usize;
                    value = u32::from_ne_bytes(seen[place..place + 4].try_into().unwrap());
                }
                0x05 => at += step.k as usize,
                0x15 => at += jump(value == step.k),
                0x25 => at += jump(value > step.k),
                0x35 => at += jump(value >= step.k),
                0x54 => value &= step.k,
                0x06 => return step.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// What two filters say, of which one allows by list and the other, installed after it, refuses by list.
    fn by_lists(lists: &[BpfProgram; 2], architecture: u32, number: u32, arguments: [u64; 3]) -> u32 {
        let allow = u32::from(SeccompAction::Allow);
        let [first, second] = lists.each_ref().map(|list| answer(list, architecture, number, arguments));
        // Of two refusals the kernel takes the later filter's (seccomp_unotify(2), "precedence").
        if second == allow { first } else { second }
    }

    #[test]
    fn the_tree_says_what_the_lists_say() {
        let tree = program().unwrap();
        let lists = [
            compile(allowed().unwrap(), errno(libc::ENOSYS), SeccompAction::Allow).unwrap(),
            compile(refused().unwrap(), SeccompAction::Allow, errno(libc::EPERM)).unwrap(),
        ];
        assert!(tree.len() * 2 < lists[0].len(), "{} and {}", tree.len(), lists[0].len());
        let (ours, other) = (lists[0][1].k, 0x4000_0028);
        const X32: u32 = 0x4000_0000;
        let numbers = (0..1_100).chain([X32, X32 | 1, X32 | 59, X32 | 520, u32::MAX - 1, u32::MAX]);
        for number in numbers {
            assert_eq!(answer(&tree, ours, number, [0; 3]), by_lists(&lists, ours, number, [0; 3]), "{number}");
            assert_eq!(answer(&tree, other, number, [0; 3]), libc::SECCOMP_RET_KILL_PROCESS, "{number}");
        }
        let terminal = [libc::TIOCSTI, libc::TIOCLINUX].into_iter();
        let values = (0..64).chain((6..=32).map(|bit| 1 << bit)).chain(PERSONALITIES).chain(terminal);
        let values: Vec<u64> = values.chain([0x8_0802, 0x8_0003, 0x1_0000_0000 | 16, u64::MAX]).collect();
        for number in [libc::SYS_clone, libc::SYS_socket, libc::SYS_personality, libc::SYS_ioctl] {
            let number = u32::try_from(number).unwrap();
            for (first, second) in values.iter().flat_map(|first| values.iter().map(|second| (*first, *second))) {
                for third in [0, 1, 15] {
                    let arguments = [first, second, third];
                    let expected = by_lists(&lists, ours, number, arguments);
                    assert_eq!(answer(&tree, ours, number, arguments), expected, "{number} {arguments:?}");
                }
            }
        }
    }

    #[test]
    fn the_kernel_goes_a_short_way_to_every_call() {
        const BPF_MAXINSNS: usize = 4_096;
        let tree = program().unwrap();
        assert!(tree.len() <= BPF_MAXINSNS / 8, "{}", tree.len());
    }
}
