//! Arbitrary bytes into [`hearth_frontend::fuzzing::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_frontend::fuzzing::names(data));
