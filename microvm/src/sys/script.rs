//! What a child does between its birth and its program, as data: a list of system calls with all their memory owned
//! by the list. Building it is ordinary code; carrying it out ([`super::spawn`]) allocates nothing and takes no lock,
//! so that it may run in a child of a program with threads.

use std::ffi::{CString, c_int, c_long};
use std::os::fd::{AsRawFd, OwnedFd};

/// A list of system calls, in order. The first that fails ends the child and is reported by its name.
#[derive(Default)]
pub(crate) struct Script {
    pub(super) steps: Vec<Step>,
    names: Vec<String>,
    /// What the steps' arguments point to: heap memory that doesn't move when its owner does.
    owned: Vec<Owned>,
}

/// One argument of a step.
pub(crate) enum Arg {
    /// A number, flag set or null pointer.
    Number(u64),
    /// A text, given to the kernel as a pointer to its bytes and a terminating zero.
    Text(CString),
    /// A structure of 64-bit words, given as a pointer to it.
    Words(Vec<u64>),
    /// Texts, given as a null-terminated array of pointers (`argv`).
    Texts(Vec<CString>),
    /// A descriptor of this process, which stays open as long as the script.
    Fd(OwnedFd),
    /// What the step before answered.
    Previous,
}

/// What is expected of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Success,
    /// Success with exactly this answer.
    Exactly(isize),
}

pub(super) struct Step {
    pub(super) number: c_long,
    pub(super) args: [usize; 6],
    /// Which argument is the answer of the step before; 6 for none.
    pub(super) previous: usize,
    pub(super) expect: Expect,
}

enum Owned {
    #[expect(dead_code, reason = "held for its memory, which a step points to")]
    Text(CString),
    #[expect(dead_code, reason = "held for its memory, which a step points to")]
    Words(Vec<u64>),
    #[expect(dead_code, reason = "held for its memory, which a step points to")]
    Texts(Vec<CString>, Vec<usize>),
    #[expect(dead_code, reason = "held open for the child")]
    Fd(OwnedFd),
}

impl Script {
    /// Adds a step that must succeed.
    pub(crate) fn step(&mut self, name: impl Into<String>, number: c_long, args: impl IntoIterator<Item = Arg>) {
        self.push(name.into(), number, args, Expect::Success);
    }

    /// Keeps words as long as the script and answers their address, for a structure that leads to them.
    pub(crate) fn keep(&mut self, words: Vec<u64>) -> u64 {
        self.own(Arg::Words(words)) as u64
    }

    /// Adds the reading of one byte from descriptor `fd`, at an address the child may overwrite.
    pub(super) fn read_one_byte(&mut self, fd: c_int, into: *mut u8) {
        let args = [Arg::Number(fd as u64), Arg::Number(into as u64), Arg::Number(1)];
        self.push("wait for the parent".into(), libc::SYS_read, args, Expect::Exactly(1));
    }

    /// The name of a step, as given.
    pub(super) fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("unknown step", String::as_str)
    }

    /// Runs another script's steps after this one's.
    pub(super) fn append(&mut self, other: Script) {
        self.steps.extend(other.steps);
        self.names.extend(other.names);
        self.owned.extend(other.owned);
    }

    fn push(&mut self, name: String, number: c_long, args: impl IntoIterator<Item = Arg>, expect: Expect) {
        let mut step = Step { number, args: [0; 6], previous: 6, expect };
        for (index, arg) in args.into_iter().enumerate() {
            assert!(index < 6, "a system call has at most six arguments");
            match arg {
                Arg::Previous => step.previous = index,
                other => step.args[index] = self.own(other),
            }
        }
        self.steps.push(step);
        self.names.push(name);
    }

    /// Keeps the memory of an argument and answers what to put in the register.
    fn own(&mut self, arg: Arg) -> usize {
        match arg {
            Arg::Previous => 0,
            Arg::Number(number) => number as usize,
            Arg::Text(text) => {
                let pointer = text.as_ptr() as usize;
                self.owned.push(Owned::Text(text));
                pointer
            }
            Arg::Words(words) => {
                let pointer = words.as_ptr() as usize;
                self.owned.push(Owned::Words(words));
                pointer
            }
            Arg::Texts(texts) => {
                let mut pointers: Vec<usize> = texts.iter().map(|text| text.as_ptr() as usize).collect();
                pointers.push(0);
                let pointer = pointers.as_ptr() as usize;
                self.owned.push(Owned::Texts(texts, pointers));
                pointer
            }
            Arg::Fd(fd) => {
                let number = fd.as_raw_fd() as usize;
                self.owned.push(Owned::Fd(fd));
                number
            }
        }
    }
}
