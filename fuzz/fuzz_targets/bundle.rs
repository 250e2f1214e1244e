//! Sigstore bundles, and the keys of cosign's signers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_core::fuzzing::bundle(bytes);
});
