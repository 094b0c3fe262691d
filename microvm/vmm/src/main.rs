//! `hearth-vmm`: one microVM. Started by a launcher with its end of the control socket as descriptor 3; takes no
//! arguments and opens nothing.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match hearth_vmm::control::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth-vmm: {error}");
            ExitCode::FAILURE
        }
    }
}
