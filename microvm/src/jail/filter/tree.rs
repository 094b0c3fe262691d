//! A seccomp program that finds what is said about a call by halving the numbers of calls.
//!
//! ```text
//! guard: another architecture's call ends the process
//! tree:  number ≥ 128? … number ≥ 24? … answer, or go to the questions
//! questions: programs of seccompiler that look at the arguments of a few calls
//! ```
//!
//! A list, call after call, is what seccompiler makes. When a filter is installed the kernel goes through it once for
//! every call there is, to remember which are always allowed, and translates it to machine code, with interrupts off for
//! much of that: 3 ms a sandbox for two lists of 350 calls, a tenth of it for their tree (docs/decisions/0206).

use std::collections::BTreeMap;
use std::ffi::c_long;

use seccompiler::{BpfProgram, sock_filter};

/// Classic BPF: load a word, jump, jump if equal or above, answer (linux/filter.h).
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_NOT_BELOW: u16 = 0x35;
const ANSWER: u16 = 0x06;
/// Where the call's number lies in what a filter sees (linux/seccomp.h).
const NUMBER_OFFSET: u32 = 0;
/// Instructions with which every program of seccompiler begins: is the call of this architecture?
const GUARD: usize = 3;
/// Stands for the questions' place until it is known. No program is as long (BPF_MAXINSNS is 4,096).
const TO_THE_QUESTIONS: u32 = u32::MAX;

/// What is said about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    /// This, whatever its arguments: a seccomp return value.
    Answer(u32),
    /// That depends on its arguments.
    Ask,
}

/// A program that says `said`, and `otherwise` about every other call, `questions` being asked about those that want it.
/// `questions` are whole programs of seccompiler's: the first whose answer is not `otherwise` has the last word.
pub(super) fn program(said: &BTreeMap<c_long, Say>, otherwise: u32, questions: Vec<BpfProgram>) -> BpfProgram {
    let guard = questions.first().map_or(&[][..], |first| &first[..GUARD.min(first.len())]);
    let mut program: BpfProgram = guard.to_vec();
    program.push(instruction(LOAD, NUMBER_OFFSET));
    program.extend(halve(&ranges(said, otherwise)));
    let place = program.len();
    for (index, instruction) in program.iter_mut().enumerate() {
        if instruction.code == JUMP && instruction.k == TO_THE_QUESTIONS {
            instruction.k = distance(index, place);
        }
    }
    program.extend(one_after_the_other(questions, otherwise));
    program
}

/// Numbers with which another thing begins to be said, ascending from 0.
fn ranges(said: &BTreeMap<c_long, Say>, otherwise: u32) -> Vec<(u32, Say)> {
    let otherwise = Say::Answer(otherwise);
    let mut ranges = vec![(0, otherwise)];
    let mut say = |from: u32, say: Say| match ranges.last_mut() {
        Some(last) if last.0 == from => last.1 = say,
        Some(last) if last.1 == say => {}
        _ => ranges.push((from, say)),
    };
    for (number, about) in said {
        let number = u32::try_from(*number).unwrap_or(u32::MAX - 1);
        say(number, *about);
        say(number + 1, otherwise);
    }
    ranges.dedup_by_key(|(_, say)| *say);
    ranges
}

fn halve(ranges: &[(u32, Say)]) -> BpfProgram {
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let Some((from, say)) = high.first() else { return Vec::new() };
    if low.is_empty() {
        return vec![match say {
            Say::Answer(value) => instruction(ANSWER, *value),
            Say::Ask => instruction(JUMP, TO_THE_QUESTIONS),
        }];
    }
    let (below, above) = (halve(low), halve(high));
    let over = below.len();
    let mut halves = match u8::try_from(over) {
        Ok(over) => vec![sock_filter { code: JUMP_IF_NOT_BELOW, jt: over, jf: 0, k: *from }],
        // Farther than a condition can jump.
        Err(_) => vec![
            sock_filter { code: JUMP_IF_NOT_BELOW, jt: 0, jf: 1, k: *from },
            instruction(JUMP, u32::try_from(over).unwrap_or(TO_THE_QUESTIONS)),
        ],
    };
    halves.extend(below);
    halves.extend(above);
    halves
}

/// Where one program would answer `otherwise`, the next is asked; the last does answer it.
fn one_after_the_other(questions: Vec<BpfProgram>, otherwise: u32) -> BpfProgram {
    let last = questions.len().saturating_sub(1);
    let mut all = BpfProgram::new();
    for (number, mut question) in questions.into_iter().enumerate() {
        let end = question.len();
        for (index, instruction) in question.iter_mut().enumerate().filter(|_| number < last) {
            if instruction.code == ANSWER && instruction.k == otherwise {
                (instruction.code, instruction.k) = (JUMP, distance(index, end));
            }
        }
        all.extend(question);
    }
    all
}

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// How far a jump at `from` goes to reach `to`.
fn distance(from: usize, to: usize) -> u32 {
    u32::try_from(to - from - 1).unwrap_or(TO_THE_QUESTIONS)
}
