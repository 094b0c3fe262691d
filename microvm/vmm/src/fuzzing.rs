//! What the fuzz targets in `fuzz/` call, one function each: arbitrary bytes in, a panic if a rule is broken.
//!
//! The seeds that are kept run through the same functions in `cargo test`, so that what was once found stays found.
//!
//! Absent on purpose: KVM. What a damaged snapshot puts into registers is the kernel's to refuse.

mod bytes;
mod channel;
mod devices;
mod files;

pub use channel::vsock;
pub use devices::{balloon, block, entropy, net, transport};
pub use files::{control, kernel, snapshot};

/// A function of this module.
pub type Target = fn(&[u8]);

/// All of them, by the name that target and seeds have.
pub const TARGETS: [(&str, Target); 9] = [
    ("transport", transport),
    ("block", block),
    ("vsock", vsock),
    ("net", net),
    ("entropy", entropy),
    ("balloon", balloon),
    ("control", control),
    ("snapshot", snapshot),
    ("kernel", kernel),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_seeds_break_nothing() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        for (name, target) in TARGETS {
            let mut count = 0;
            for seed in fs::read_dir(seeds.join(name)).unwrap() {
                let seed = seed.unwrap().path();
                let bytes = fs::read(&seed).unwrap();
                assert!(std::panic::catch_unwind(|| target(&bytes)).is_ok(), "{}", seed.display());
                count += 1;
            }
            assert!(count > 0, "{name} has no seeds");
        }
    }
}
