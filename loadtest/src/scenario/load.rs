//! Questions and their pace, as a scenario has them.

use std::time::Duration;

use serde::Deserialize;

use super::Span;
use crate::callers::MAX_CALLERS;
use crate::library::Library;
use crate::pace::Arrivals;
use crate::questions::{Call, MAX_BULK, MAX_CONTAINERS, Pick};

/// Questions and their pace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Load {
    /// How they are asked.
    pub(crate) call: Call,
    /// Connections.
    pub(crate) connections: usize,
    /// Under way on each, where no rate is given.
    pub(crate) in_flight: usize,
    /// How many are due a second: an open loop.
    pub(crate) rate: Option<Rate>,
    /// How due times follow each other.
    pub(crate) arrivals: Arrivals,
    /// For how long.
    pub(crate) duration: Span,
    /// How many at most.
    pub(crate) questions: Option<u64>,
    /// The first image that is asked about, and how many from there on; all where it is not said.
    pub(crate) images: Option<(u32, u32)>,
    /// In which order.
    pub(crate) pick: Pick,
    /// Images in one question.
    pub(crate) containers: u32,
    /// By tag instead of by digest.
    pub(crate) by_tag: bool,
    /// Clusters that ask.
    pub(crate) clusters: u32,
    /// The deadline of each question.
    pub(crate) timeout: Option<Span>,
    /// Through the client library, which knows all replicas, and not connection by connection.
    pub(crate) library: Option<Library>,
    /// Whether each answer is read.
    pub(crate) read: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            call: Call::Check,
            connections: 8,
            in_flight: 16,
            rate: None,
            arrivals: Arrivals::Poisson,
            duration: Span(Duration::from_secs(10)),
            questions: None,
            images: None,
            pick: Pick::Zipf(1.0),
            containers: 1,
            by_tag: false,
            clusters: 20,
            timeout: None,
            library: None,
            read: false,
        }
    }
}

/// How many questions are due a second.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Rate {
    /// So many.
    PerSecond(f64),
    /// So many times a figure of an earlier phase.
    Times(Times),
}

/// So many times a figure of an earlier phase.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Times {
    /// Which, such as `capacity.throughput_per_s`.
    pub(crate) of: String,
    /// How many times.
    pub(crate) times: f64,
}

impl Load {
    /// The images that are asked about: the first and how many.
    pub(crate) fn range(&self, digests: u32) -> (u32, u32) {
        self.images.unwrap_or((0, digests))
    }

    pub(super) fn check(&self, digests: u32) -> anyhow::Result<()> {
        let (from, count) = self.range(digests);
        let fits = count > 0 && from.checked_add(count).is_some_and(|end| end <= digests);
        anyhow::ensure!(fits, "images: {count} from {from} on are not among {digests}");
        let most = if self.call == Call::BulkCheck { MAX_BULK } else { MAX_CONTAINERS };
        anyhow::ensure!((1..=most).contains(&self.containers), "containers: 1 to {most}");
        anyhow::ensure!(self.in_flight > 0, "in-flight: at least 1");
        let plain = self.library.is_none() || self.call == Call::Check;
        anyhow::ensure!(plain, "library: it has `check` alone");
        let fits = self.call != Call::Review || (1..=MAX_CALLERS).contains(&self.connections);
        anyhow::ensure!(fits, "connections: 1 to {MAX_CALLERS} for reviews");
        if let Pick::Zipf(s) = self.pick {
            anyhow::ensure!((0.0..=10.0).contains(&s), "zipf: 0 to 10");
        }
        if let Some(Rate::PerSecond(rate) | Rate::Times(Times { times: rate, .. })) = &self.rate {
            anyhow::ensure!(rate.is_finite() && *rate > 0.0, "rate: above 0");
        }
        Ok(())
    }
}
