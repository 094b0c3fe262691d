//! What developers run: `cargo xtask gen | tidy | shim`.
//!
//! Each task is a file with one public function; `tidy` and the drift of generated code also run as tests.
#![forbid(unsafe_code)]

mod generate;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask gen     write protocol/src/generated from protocol/proto";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("gen") => generate::write(&workspace_root()),
        _ => bail!("which task?\n{USAGE}"),
    }
}

/// The top of the tree, wherever cargo was called from.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
