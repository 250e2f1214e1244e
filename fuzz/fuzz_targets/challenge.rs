//! Challenges of registries (`WWW-Authenticate`).
#![no_main]

mod registry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    registry::challenge(bytes);
});
