//! What the fuzz targets in `fuzz/` call, one function each: arbitrary bytes in, a panic if a rule is broken.
//!
//! The seeds that are kept run through the same functions in `cargo test`, so that what was once found stays found.
//!
//! Absent on purpose: requests as a whole. `tests/api/random` sends those through the server.

mod names;
mod patterns;
mod policies;
mod signatures;
mod urls;

pub use names::names;
pub use patterns::patterns;
pub use policies::policies;
pub use signatures::signatures;
pub use urls::urls;

/// A function of this module.
pub type Target = fn(&[u8]);

/// All of them, by the name that target and seeds have.
pub const TARGETS: [(&str, Target); 5] =
    [("policies", policies), ("signatures", signatures), ("names", names), ("patterns", patterns), ("urls", urls)];

/// The text of an input, as `N` lines and what follows them; missing ones are empty.
fn lines<const N: usize>(data: &[u8]) -> ([String; N], String) {
    let text = String::from_utf8_lossy(data);
    let mut rest: &str = &text;
    let first = std::array::from_fn(|_| {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        line.to_owned()
    });
    (first, rest.to_owned())
}

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
