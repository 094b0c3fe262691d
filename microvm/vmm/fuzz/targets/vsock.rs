//! Arbitrary bytes into [`hearth_vmm::fuzzing::vsock`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_vmm::fuzzing::vsock(data));
