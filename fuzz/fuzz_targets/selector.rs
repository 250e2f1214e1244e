//! Patterns of images and label selectors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_core::policy::fuzzing::selector(bytes);
});
