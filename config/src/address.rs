//! A text in, an address to listen on out.

use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::Error as _;

/// An address such as `127.0.0.1:7443`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            D::Error::custom(format_args!(
                "`{text}` is not an address to listen on: expected an IP address and a port, such as `127.0.0.1:7443`; \
                 a name is none"
            ))
        })
    }
}
