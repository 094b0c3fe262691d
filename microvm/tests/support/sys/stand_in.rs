//! In the place of hearth-vmm: answers the control protocol without making a machine, in one of several ways, chosen
//! when it is compiled (`HEARTH_STAND_IN`). Compiled by the tests that use it, with nothing but the standard library,
//! because it must be static.
//!
//! Messages are postcard: the number of the variant, then its fields.

#![expect(unsafe_code, reason = "takes its descriptor, and makes system calls that no library would")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixDatagram;

/// The control socket keeps packets apart, as datagrams are.
const CONTROL_FD: i32 = 3;
const HELLO: u8 = 0;
/// The last is `hearth_vmm::control::VERSION`.
const ANSWER_HELLO: &[u8] = &[0, 0, 2];
const ANSWER_DONE: &[u8] = &[0, 1];
const EVENT_RESET: &[u8] = &[1, 0, 0];

fn main() {
    let way = env!("HEARTH_STAND_IN");
    // SAFETY: the descriptor is open from the start and used by nobody else.
    let socket = unsafe { UnixDatagram::from_raw_fd(CONTROL_FD) };
    let mut request = vec![0; 64 * 1024];
    let send = |bytes: &[u8]| drop(socket.send(bytes));
    while let Ok(length) = socket.recv(&mut request) {
        match (way, request[..length].first()) {
            (_, None) => return,
            ("another-version", Some(&HELLO)) => send(&[0, 0, 99]),
            (_, Some(&HELLO)) => send(ANSWER_HELLO),
            ("dies", _) => {
                let _ = writeln!(std::io::stderr(), "no such luck\x1b[31m");
                std::process::exit(3);
            }
            ("silent", _) => {}
            ("garbage", _) => send(&[0xff; 100]),
            ("too-much", _) => send(&vec![0; 60_000]),
            ("another-reply", _) => send(ANSWER_HELLO),
            ("events", _) => (0..64).for_each(|_| send(EVENT_RESET)),
            ("resets", _) => {
                send(ANSWER_DONE);
                send(EVENT_RESET);
                return;
            }
            ("refuses", _) => send(&refusal("not \u{1b}today")),
            ("looks", Some(_)) => send(&refusal(&looked())),
            _ => send(ANSWER_DONE),
        }
    }
}

/// A refusal with a text of less than 16,384 bytes.
fn refusal(text: &str) -> Vec<u8> {
    let length = text.len();
    [&[0, 3, length as u8 & 0x7f | 0x80, (length >> 7) as u8], text.as_bytes()].concat()
}

/// What can be reached from here, one finding a line: name, and what came of it.
fn looked() -> String {
    let mut text = String::new();
    let mut tell = |what: &str, found: std::io::Result<String>| {
        let found = found.unwrap_or_else(|error| format!("error {}", error.raw_os_error().unwrap_or(0)));
        let _ = writeln!(text, "{what}={found};");
    };
    for path in ["/", "/proc/self/status", "/dev/null", "/etc/passwd", ".."] {
        tell(path, std::fs::File::open(path).map(|_| "open".to_owned()));
    }
    tell("write", std::fs::File::create("/file").map(|_| "made".to_owned()));
    tell("tcp", std::net::TcpStream::connect("127.0.0.1:1").map(|_| "connected".to_owned()));
    tell("unix", UnixDatagram::unbound().map(|_| "made".to_owned()));
    tell("program", std::process::Command::new("/bin/sh").status().map(|_| "started".to_owned()));
    // What is answered without asking the file system.
    for (name, number) in [("uid", 102), ("mounts", 165), ("ptrace", 101), ("unshare", 272), ("uname", 63)] {
        tell(name, call(number));
    }
    for fd in 0..64 {
        // fcntl(F_GETFD)
        if call_with(72, [fd, 1]).is_ok() {
            tell("fd", Ok(fd.to_string()));
        }
    }
    text
}

fn call(number: i64) -> std::io::Result<String> {
    call_with(number, [0, 0]).map(|answer| answer.to_string())
}

/// A system call with two numbers (x86-64).
fn call_with(number: i64, [first, second]: [i64; 2]) -> std::io::Result<i64> {
    let answer: i64;
    // SAFETY: none of the calls made here reads or writes memory of this process with zeros for pointers.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") first, in("rsi") second, in("rdx") 0, in("r10") 0, in("r8") 0,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    if answer < 0 { Err(std::io::Error::from_raw_os_error(-answer as i32)) } else { Ok(answer) }
}
