//! One system call by registers. libc's wrappers store `errno` in thread-local memory, which a child that shares its
//! parent's memory also shares with the parent's thread; these don't.
#![expect(unsafe_code, reason = "system calls without errno, and clone3 onto a new stack, exist in no library")]

use std::ffi::c_long;

/// Calls the kernel; the answer is the kernel's own (`-errno` on failure).
///
/// # Safety
/// As for the system call that `number` and `args` make: pointers among them must be valid for what it does.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn call(number: c_long, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the x86-64 Linux convention; `syscall` overwrites rcx and r11 and nothing else. What the kernel does to
    // memory is the caller's promise. Needed because there is no other way to call without errno.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    answer
}

/// Calls the kernel; the answer is the kernel's own (`-errno` on failure).
///
/// # Safety
/// As for the system call that `number` and `args` make: pointers among them must be valid for what it does.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) unsafe fn call(number: c_long, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the AArch64 Linux convention; `svc` changes x0 only. What the kernel does to memory is the caller's
    // promise. Needed because there is no other way to call without errno.
    unsafe {
        core::arch::asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") args[0] => answer,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack)
        );
    }
    answer
}

/// `clone3`; the child calls `entry(argument)` on the stack that `clone_args` names. Answers in the parent only:
/// the child's process id, or `-errno`.
///
/// # Safety
/// `clone_args` is filled for a child with a stack of its own, 16-byte aligned at its top. That stack, `argument` and
/// all that `entry` touches stay valid until the child has executed a program or exited, if memory is shared.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone3<T>(
    clone_args: &libc::clone_args,
    entry: unsafe extern "C" fn(*const T) -> !,
    argument: *const T,
) -> isize {
    let answer: isize;
    // SAFETY: parent: as any system call. Child: only registers are read until `call`, and the stack pointer is the
    // new stack's top, aligned as the ABI wants before a call; `entry` never returns. The rest is the caller's
    // promise. Needed because libc has no wrapper for clone3, and `clone` can't enter a cgroup.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => answer,
            in("rdi") std::ptr::from_ref(clone_args), in("rsi") size_of::<libc::clone_args>(),
            in("r12") argument, in("r13") entry,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    answer
}

/// `clone3`; the child calls `entry(argument)` on the stack that `clone_args` names. Answers in the parent only:
/// the child's process id, or `-errno`.
///
/// # Safety
/// `clone_args` is filled for a child with a stack of its own, 16-byte aligned at its top. That stack, `argument` and
/// all that `entry` touches stay valid until the child has executed a program or exited, if memory is shared.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone3<T>(
    clone_args: &libc::clone_args,
    entry: unsafe extern "C" fn(*const T) -> !,
    argument: *const T,
) -> isize {
    let answer: isize;
    // SAFETY: as on x86-64: the child reads registers only, then calls `entry` on the new stack; it never returns.
    // Needed because libc has no wrapper for clone3, and `clone` can't enter a cgroup.
    unsafe {
        core::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(clone_args) => answer,
            in("x1") size_of::<libc::clone_args>(),
            in("x20") argument, in("x21") entry,
        );
    }
    answer
}
