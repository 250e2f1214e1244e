//! Links to the next page of a list (`Link`).
#![no_main]

mod registry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    registry::link(bytes);
});
