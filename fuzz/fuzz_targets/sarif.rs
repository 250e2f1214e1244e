//! SARIF of both scanners.
#![no_main]

/// What makes it a document of a scanner; the rest of its run is made of the input.
const TRIVY: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"Trivy","#;
const GRYPE: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"grype","#;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_core::findings::fuzzing::of_format(TRIVY, bytes);
    portcullis_core::findings::fuzzing::of_format(GRYPE, bytes);
});
