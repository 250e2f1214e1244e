//! Decision cases, and lines of a recorder's file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_core::simulate::fuzzing::simulation(bytes);
});
