//! Events of registries, in all dialects.
#![no_main]

mod hooks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hooks::event(bytes);
});
