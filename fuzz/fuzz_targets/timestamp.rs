//! RFC 3161 tokens.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_core::fuzzing::timestamp(bytes);
});
