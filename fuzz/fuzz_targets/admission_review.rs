//! What an API server asks the webhook.
#![no_main]

mod review;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    review::admission(bytes);
});
