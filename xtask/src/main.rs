//! What developers run: `cargo xtask gen | tidy | bench-check | shim | vmm | java | guest-image`.
//!
//! Each task is a file with one public function; `tidy` and the drift of generated code also run as tests.
#![forbid(unsafe_code)]

mod bench_check;
mod generate;
mod guest_image;
mod java;
mod service_model;
mod static_program;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask gen                write protocol/src/generated from protocol/proto, frontend/src/model/generated.rs from AWS's service model
cargo xtask tidy               hold the tree against the rules of the house
cargo xtask bench-check [REV]  run the micro-benches of this tree and of its merge base with REV in turn; fail if one got slower
cargo xtask shim [--release]   build hearth-shim statically
cargo xtask vmm [--release]    build hearth-vmm statically
cargo xtask java [--release]   compile our bootstrap for Java, if there is a Java compiler";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = workspace_root();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["gen"] => {
            generate::write(&root)?;
            service_model::write(&root)?;
            service_model::document(&root)
        }
        ["tidy"] => tidy::check(&root),
        ["bench-check"] => bench_check::check(&root, None),
        ["bench-check", rev] => bench_check::check(&root, Some(rev)),
        ["shim"] => static_program::build(&root, "hearth-shim", false),
        ["shim", "--release"] => static_program::build(&root, "hearth-shim", true),
        ["vmm"] => static_program::build(&root, "hearth-vmm", false),
        ["vmm", "--release"] => static_program::build(&root, "hearth-vmm", true),
        ["java"] => java::build(&root, false),
        ["java", "--release"] => java::build(&root, true),
        ["guest-image", ..] => guest_image::make(&root, &arguments[1..]),
        _ => bail!("which task?\n{USAGE}\n{}", guest_image::USAGE),
    }
}

/// The top of the tree, wherever cargo was called from.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
