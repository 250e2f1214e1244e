//! OpenVEX documents.
#![no_main]

/// What makes it a document of the format; the rest of its members is made of the input.
const HEAD: &str = r#"{"@context":"https://openvex.dev/ns/v0.2.0","author":"a","timestamp":"2026-01-01T00:00:00Z","#;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_core::findings::fuzzing::of_format(HEAD, bytes);
});
