//! What a guest's kernel and its first process are told: the kernel command line.
//!
//! The kernel knows some words itself. It hands others of the form `NAME=value` to the first process as environment,
//! and what follows ` -- ` as arguments (`init/main.c`, `unknown_bootoption`). Values may be quoted and hold anything
//! but quotation marks; so what can't be said is refused here, before a machine is made. A second `--` and all behind
//! it the kernel keeps to itself: it is handed on as `--command`, which the shim takes for the same.

use std::ffi::{OsStr, OsString};
use std::io;

/// Tells the shim that it is the first process of a machine.
const GUEST_ARGUMENT: &str = "--guest";
/// What stands for a `--` that the kernel would not hand on.
const DASHES: &str = "--command";
/// Variables that a kernel hands on: 32, of which it sets two itself (`CONFIG_INIT_ENV_ARG_LIMIT`).
const VARIABLES_MAX: usize = 30;
/// Arguments that a kernel hands on, ours included.
const ARGUMENTS_MAX: usize = 31;

/// For every guest: a panic ends the machine at once, nothing is probed for that is not there, and the processor's
/// random numbers are taken for what they are. What each CPU has for itself is laid out in small pages rather than in
/// 2 MiB of which most is cleared for nothing, and no memory is set aside for devices that can't reach all of it.
const ALWAYS: &str = "rdinit=/init reboot=t panic=-1 random.trust_cpu=on percpu_alloc=page swiotlb=noforce";
/// For kernels with ACPI, which distributions build for all kinds of machines: no PCI, and no keyboard controller, for
/// which they would otherwise wait more than a second.
const WITH_ACPI: &str = " pci=off initcall_blacklist=i8042_init";
/// Messages go to the serial console, at an exit for each letter.
const WITH_CONSOLE: &str = " console=ttyS0";
/// No serial console.
const WITHOUT_CONSOLE: &str = " quiet 8250.nr_uarts=0";

/// What the first process is to be given.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstProcess<'a> {
    pub(super) args: &'a [OsString],
    pub(super) env: &'a [(OsString, OsString)],
}

/// The launcher's part of the command line.
pub(super) fn command_line(first: FirstProcess<'_>, acpi: bool, console: bool) -> io::Result<String> {
    let mut line = ALWAYS.to_owned();
    line.push_str(if acpi { WITH_ACPI } else { "" });
    line.push_str(if console { WITH_CONSOLE } else { WITHOUT_CONSOLE });
    if first.env.len() > VARIABLES_MAX || first.args.len() >= ARGUMENTS_MAX {
        return Err(refusal("more variables or arguments than a kernel hands on"));
    }
    for (name, value) in first.env {
        line.push(' ');
        line.push_str(variable_name(name)?);
        line.push('=');
        line.push_str(&quoted(value)?);
    }
    line.push_str(" -- ");
    line.push_str(GUEST_ARGUMENT);
    for argument in first.args {
        line.push(' ');
        line.push_str(&if argument == "--" { DASHES.to_owned() } else { quoted(argument)? });
    }
    Ok(line)
}

/// Capitals only: the kernel's own words are in small letters.
fn variable_name(name: &OsStr) -> io::Result<&str> {
    let legal = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let name = name.to_str().filter(|name| name.as_bytes().iter().all(legal));
    let name = name.filter(|name| name.starts_with(|letter: char| !letter.is_ascii_digit()));
    name.ok_or_else(|| refusal("a variable's name is capitals, digits and _"))
}

fn quoted(value: &OsStr) -> io::Result<String> {
    let value = value.to_str().filter(|value| !value.contains(|letter: char| letter == '"' || letter.is_control()));
    let value = value.ok_or_else(|| refusal("a value is text without quotation marks and control characters"))?;
    let plain = !value.is_empty() && !value.contains(' ');
    Ok(if plain { value.to_owned() } else { format!("\"{value}\"") })
}

fn refusal(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("a machine's first process can't be given this: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str], env: &[(&str, &str)]) -> io::Result<String> {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        let env: Vec<_> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        command_line(FirstProcess { args: &args, env: &env }, false, false)
    }

    #[test]
    fn variables_come_before_the_dashes_and_arguments_after() {
        let line = line(&["--user", "993:990", "--", "two words"], &[("PATH", "/usr/bin:/bin"), ("TZ", "")]).unwrap();
        let (kernel, arguments) = line.split_once(" -- ").unwrap();
        assert!(kernel.ends_with(" PATH=/usr/bin:/bin TZ=\"\""), "{kernel}");
        assert_eq!(arguments, "--guest --user 993:990 --command \"two words\"");
    }

    #[test]
    fn what_a_kernel_would_take_for_its_own_or_not_hand_on_is_refused() {
        assert!(line(&[], &[("console", "ttyS1")]).is_err());
        assert!(line(&[], &[("A.B", "1")]).is_err());
        assert!(line(&[], &[("A", "say \"yes\"")]).is_err());
        assert!(line(&["a\nb"], &[]).is_err());
        assert!(line(&[], &[("A", "1"); 30]).is_ok() && line(&[], &[("A", "1"); 31]).is_err());
        assert!(line(&["a"; 30], &[]).is_ok() && line(&["a"; 31], &[]).is_err());
    }
}
