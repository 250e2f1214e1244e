//! The admission webhook: what the API server asks in, what it is to do out. It holds no policy.
//!
//! ```text
//! TLS ─ webhook (bounds) ─ bytes ─ review::read ─ Review ─ ask ─ Outcome ─ review::validated, review::mutated
//!                                                          │
//!                                    near cache, a replica, another one; else what was last known;
//!                                    else the fail policy of the namespace
//! ```

pub mod config;
pub mod tls;
pub mod renewal;
mod metrics;
mod places;
pub mod review;
mod breaker;
pub mod known;
pub mod reports;
pub mod ask;
mod budget;
mod reviewer;
pub mod traced;
pub mod webhook;
mod listen;
pub mod app;

use std::error::Error;

/// An error and all that is behind it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some name what is behind them in their own words.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.replace(char::is_control, " ")
}
