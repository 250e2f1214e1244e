//! Puts a decision service under load, failure and change, and says what it gave.
//!
//! ```text
//! scenario ─ phases ─┬─ registry: signed reports by number, near or far, well or ill
//!                    ├─ world: configuration, trust and rules ─ process: the service, the echo
//!                    └─ generator: questions ─ pace ─ connection ─ frame, hpack
//!                         └─ measure ─ segments: in turn with the echo ─ figures ─ document
//! ```
//!
//! The generator writes HTTP/2 itself, so that what is measured is the service and not a client.

mod clock;
mod hpack;
mod frame;
mod connection;
mod image;
mod zipf;
mod questions;
mod pace;
mod measure;
mod generator;
mod library;
mod echo;
mod registry;
mod process;
mod world;
mod scenario;
mod progress;
mod bench;
mod segments;
mod figures;
mod document;
mod html;
mod compare;
mod run;
mod args;
mod command;

use std::any::Any;
use std::path::Path;

pub use crate::args::Args;
pub use crate::command::{execute, execute_within};
pub use crate::process::Addresses;

/// Begins a service with a configuration, in this process. It ends when the second value is dropped.
pub type Begin = dyn Fn(&Path) -> anyhow::Result<(Addresses, Box<dyn Any + Send + Sync>)> + Sync;
