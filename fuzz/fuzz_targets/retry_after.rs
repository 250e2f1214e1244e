//! How long a registry wants to be left alone (`Retry-After`).
#![no_main]

mod registry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    registry::retry_after(bytes);
});
