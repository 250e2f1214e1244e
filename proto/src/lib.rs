//! The contract of Portcullis as Rust types, generated from `portcullis/v1/*.proto`, whose comments
//! are the manual.

/// Version 1 of the contract.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code has its own attributes"
)]
pub mod v1 {
    tonic::include_proto!("portcullis.v1");
}

/// The encoded `FileDescriptorSet` of the contract, for gRPC server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
