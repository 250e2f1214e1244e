//! The client against registries that are good, broken and hostile, over real connections.

mod harness;
mod listed;
mod reading;
mod listing;
mod sparing;
mod blame;
mod faults;
mod access;
mod credentials;
mod desk;
mod clouds;
mod canary;
mod redirects;
mod mirrors;
mod proxied;
mod transport;
mod wire;
mod pushing;
