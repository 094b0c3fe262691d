//! Arbitrary bytes into [`hearth_vmm::fuzzing::block`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_vmm::fuzzing::block(data));
