//! Answers of token servers.
#![no_main]

mod registry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    registry::token(bytes);
});
