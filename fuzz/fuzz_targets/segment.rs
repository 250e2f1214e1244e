//! A segment of the record of decisions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_core::event::fuzzing::segment(bytes);
});
