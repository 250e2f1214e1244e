//! The client before replicas that die, drain, hang and lie, on a network in memory.
//!
//! Time is paused: it goes on only when everybody waits, and nothing depends on the machine.

#[cfg(test)]
#[path = "it/network.rs"]
mod network;
#[cfg(test)]
#[path = "it/fake.rs"]
mod fake;

#[cfg(test)]
#[path = "it/calls.rs"]
mod calls;
#[cfg(test)]
#[path = "it/replicas.rs"]
mod replicas;
#[cfg(test)]
#[path = "it/near.rs"]
mod near;
#[cfg(test)]
#[path = "it/trace.rs"]
mod trace;
