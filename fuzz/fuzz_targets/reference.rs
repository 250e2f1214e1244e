//! Image references: what is read prints as itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<portcullis_core::image::Reference>() {
        assert_eq!(reference.to_string().parse().ok(), Some(reference));
    }
});
