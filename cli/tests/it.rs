//! The built command, run as a user would.

#[cfg(test)]
#[path = "it/command.rs"]
mod command;
#[cfg(test)]
#[path = "it/world.rs"]
mod world;
#[cfg(test)]
#[path = "it/demo.rs"]
mod demo;
#[cfg(test)]
#[path = "it/check.rs"]
mod check;
#[cfg(test)]
#[path = "it/explain.rs"]
mod explain;
#[cfg(test)]
#[path = "it/evidence.rs"]
mod evidence;
#[cfg(test)]
#[path = "it/refresh.rs"]
mod refresh;
#[cfg(test)]
#[path = "it/serve.rs"]
mod serve;
#[cfg(test)]
#[path = "it/tls.rs"]
mod tls;
#[cfg(test)]
#[path = "it/shim.rs"]
mod shim;
#[cfg(test)]
#[path = "it/frames.rs"]
mod frames;
#[cfg(test)]
#[path = "it/floods.rs"]
mod floods;
#[cfg(test)]
#[path = "it/drain.rs"]
mod drain;
#[cfg(test)]
#[path = "it/standstill.rs"]
mod standstill;
#[cfg(test)]
#[path = "it/attach.rs"]
mod attach;
#[cfg(test)]
#[path = "it/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "it/operations.rs"]
mod operations;
#[cfg(test)]
#[path = "it/traces.rs"]
mod traces;
#[cfg(test)]
#[path = "it/review_traces.rs"]
mod review_traces;
#[cfg(test)]
#[path = "it/simulate.rs"]
mod simulate;
#[cfg(test)]
#[path = "it/observability.rs"]
mod observability;
#[cfg(test)]
#[path = "it/events.rs"]
mod events;
#[cfg(test)]
#[path = "it/soak.rs"]
mod soak;
