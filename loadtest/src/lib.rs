//! Puts a decision service under load, failure and change, and says what it gave.
//!
//! ```text
//! scenario ─ phases ─┬─ registry: signed reports by number, near or far, well or ill
//!                    ├─ world: configuration, trust and rules ─ process: the service, the echo
//!                    ├─ front: a shim before the service
//!                    ├─ generator: questions ─ pace ─ connection ─ frame, hpack
//!                    └─ callers: reviews, as API servers send them
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
mod certificate;
mod callers;
mod echo;
mod registry;
mod process;
mod world;
mod front;
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

/// A part of the product that is put under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The decision service.
    Service,
    /// The admission webhook before it.
    Shim,
}

impl Part {
    /// The subcommand of `portcullis` that runs it.
    const fn command(self) -> &'static str {
        match self {
            Self::Service => "serve",
            Self::Shim => "shim",
        }
    }

    /// What it is called in errors.
    const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Shim => "shim",
        }
    }
}

/// Begins a part of the product with a configuration, in this process. It ends when the second value is dropped.
pub type Begin = dyn Fn(Part, &Path) -> anyhow::Result<Begun> + Sync;

/// Where a part listens, and what it ends with.
pub type Begun = (Addresses, Box<dyn Any + Send + Sync>);
