//! Arbitrary bytes into [`hearth_vmm::fuzzing::control`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_vmm::fuzzing::control(data));
