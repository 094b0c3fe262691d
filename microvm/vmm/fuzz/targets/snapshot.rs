//! Arbitrary bytes into [`hearth_vmm::fuzzing::snapshot`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_vmm::fuzzing::snapshot(data));
