//! `shim` and `vmm`: build hearth-shim and hearth-vmm as static programs, because the one must run in any root file
//! system and the other in an empty one.
//!
//! They are linked against glibc with `+crt-static`: no second Rust target is needed. `cargo build` alone would link
//! them dynamically; the check at the end tells that apart.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The program that is in the memory of every guest, unpacked at each boot: there, its size is what counts. A panic ends
/// the machine without unwinding (the kernel resets it when its first process is gone).
const SMALL: &str = "hearth-shim";
/// What makes a release of it small: 1.8 MB instead of 3.
const SMALL_PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// Builds `target/debug/NAME`, or `target/release/NAME`, of the package of that name.
pub(crate) fn build(root: &Path, name: &str, release: bool) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["rustc", "--package", name, "--bin", name]);
    if release {
        command.arg("--release");
        if name == SMALL {
            command.envs(SMALL_PROFILE);
        }
    }
    command.args(["--", "-C", "target-feature=+crt-static"]);
    if !command.status().context("running cargo rustc")?.success() {
        bail!("building {name} failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target));
    let program = target.join(if release { "release" } else { "debug" }).join(name);
    let bytes = fs::read(&program).with_context(|| format!("reading {}", program.display()))?;
    if !is_static(&bytes)? {
        bail!("{} needs a dynamic loader: it was not linked statically", program.display());
    }
    println!("{}", program.display());
    Ok(())
}

/// Whether a 64-bit little-endian ELF program asks for no dynamic loader: it has no `PT_INTERP` segment
/// (System V ABI, "Program Header").
fn is_static(elf: &[u8]) -> Result<bool> {
    const PT_INTERP: u64 = 3;
    const HEADER_OFFSET: usize = 0x20;
    const ENTRY_SIZE: usize = 0x36;
    const ENTRY_COUNT: usize = 0x38;
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit little-endian ELF program");
    }
    let first = usize::try_from(number(elf, HEADER_OFFSET, 8)?)?;
    let size = usize::try_from(number(elf, ENTRY_SIZE, 2)?)?;
    for index in 0..usize::try_from(number(elf, ENTRY_COUNT, 2)?)? {
        if number(elf, first + index * size, 4)? == PT_INTERP {
            return Ok(false);
        }
    }
    Ok(true)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64> {
    let field = bytes.get(at..at + length).context("the program is cut off")?;
    Ok(field.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_dynamic_and_without_its_loader_it_would_be_static() {
        let mut elf = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&elf).unwrap());
        let (first, size) = (number(&elf, 0x20, 8).unwrap(), number(&elf, 0x36, 2).unwrap());
        let entries = (0..number(&elf, 0x38, 2).unwrap()).map(|index| usize::try_from(first + index * size).unwrap());
        let interp: Vec<usize> = entries.filter(|&at| number(&elf, at, 4).unwrap() == 3).collect();
        interp.into_iter().for_each(|at| elf[at] = 0);
        assert!(is_static(&elf).unwrap());
        assert!(is_static(b"#!/bin/sh").is_err() && is_static(&elf[..0x30]).is_err());
    }
}
