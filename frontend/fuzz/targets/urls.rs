//! Arbitrary bytes into [`hearth_frontend::fuzzing::urls`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_frontend::fuzzing::urls(data));
