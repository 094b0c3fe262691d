//! `hearth-shim`: see the library.

use std::process::ExitCode;

use hearth_shim::config::{Config, USAGE};
use hearth_shim::{guest, sys};

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    // A worker and its shim ship together: this is how people see whether they do.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "--version") {
        println!("hearth-shim {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    sys::return_large_buffers();
    let config = match Config::parse(std::env::args_os().skip(1), std::env::vars_os().collect()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("hearth-shim: {error}\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if config.guest { in_guest(config) } else { in_jail(config) }
}

/// Somebody else has made everything ready.
fn in_jail(config: Config) -> ExitCode {
    let channel = match sys::inherited(config.channel_fd) {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!("hearth-shim: no channel on descriptor {}: {error}", config.channel_fd);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match hearth_shim::run(config, channel, None) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth-shim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The machine is this program's, and ends with it. (A panic of a release does not unwind: then it is the kernel that resets.)
fn in_guest(config: Config) -> ExitCode {
    let _reset = ResetOnDrop;
    let lived = guest::boot().map(|(guest, channel)| hearth_shim::run(config, channel, Some(guest)));
    match lived {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("hearth-shim: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("hearth-shim: the guest can't be set up: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the machine when it goes.
struct ResetOnDrop;

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        guest::reset();
    }
}
