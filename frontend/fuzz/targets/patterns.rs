//! Arbitrary bytes into [`hearth_frontend::fuzzing::patterns`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_frontend::fuzzing::patterns(data));
