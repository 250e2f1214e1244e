//! The bytes of a question, as a caller sends it.
#![no_main]

mod grpc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    grpc::message(bytes);
});
