//! Arbitrary bytes into [`hearth_frontend::fuzzing::signatures`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_frontend::fuzzing::signatures(data));
