//! Findings reports in every format that is read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_core::findings::fuzzing::report(bytes);
});
