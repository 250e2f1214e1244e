//! What the configuration files of the service and of the shim have in common: YAML in, values out, and what is wrong
//! with it in words for who wrote it.

mod address;
mod span;
mod yaml;

pub use self::address::Address;
pub use self::span::Span;
pub use self::yaml::{Malformed, parse};
