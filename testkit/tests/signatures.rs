//! Signatures of our own making, good and with one fault each: what core says of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy takes the functions that tests share for production code"
)]

#[path = "signatures/authorities.rs"]
mod authorities;
#[path = "signatures/families.rs"]
mod families;
#[path = "signatures/site.rs"]
mod site;
#[path = "signatures/timestamps.rs"]
mod timestamps;
#[path = "signatures/world.rs"]
mod world;
