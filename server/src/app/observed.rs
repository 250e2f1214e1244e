//! Requests to registries in, their counts out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_core::ports::Clock;

use crate::metrics::{CacheSize, Metrics};
use crate::registry::{Observe, Outcome, Registry, RegistryConfig, Route};

/// Counts the requests to registries: listed hosts by name, all others together.
struct Counted {
    listed: BTreeSet<String>,
    content: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
}

impl Counted {
    fn new(listed: BTreeSet<String>, metrics: Arc<Metrics>) -> Self {
        let content = Arc::new(AtomicU64::new(0));
        let kept = Arc::clone(&content);
        metrics.watch_cache("content", move || CacheSize {
            entries: None,
            bytes: kept.load(Ordering::Relaxed),
        });
        Self { listed, content, metrics }
    }
}

impl Observe for Counted {
    fn on_request(&self, registry: &str, route: Route, outcome: Outcome, took: Option<Duration>) {
        let host = if self.listed.contains(registry) { registry } else { "unlisted" };
        let outcome = match outcome {
            Outcome::Answered(200..=299) => "ok",
            Outcome::Answered(300..=399) => "redirected",
            Outcome::Answered(401 | 403) => "denied",
            Outcome::Answered(404) => "not_found",
            Outcome::Answered(429) => "throttled",
            Outcome::Answered(400..=499) => "refused",
            Outcome::Answered(_) => "failed",
            Outcome::Unanswered => "unanswered",
            Outcome::Withheld => "withheld",
            Outcome::Shed => "shed",
        };
        self.metrics.registry_request(host, route.as_str(), outcome, took);
    }

    fn on_wait(&self, registry: &str, waited: Duration) {
        let host = if self.listed.contains(registry) { registry } else { "unlisted" };
        self.metrics.registry_waited(host, waited);
    }

    fn on_content(&self, hit: bool, kept_bytes: u64) {
        self.metrics.registry_content(if hit { "hit" } else { "miss" });
        self.content.store(kept_bytes, Ordering::Relaxed);
    }

    fn on_credential(&self, kind: &'static str, outcome: &'static str) {
        self.metrics.credential(kind, outcome);
    }
}

/// `config`, with a client that counts what it asks.
pub(super) fn observed(
    config: RegistryConfig,
    metrics: &Arc<Metrics>,
    clock: &Arc<dyn Clock>,
) -> RegistryConfig {
    let listed = Registry::names(&config).into_iter().collect();
    let observer = Arc::new(Counted::new(listed, Arc::clone(metrics)));
    RegistryConfig { observer, clock: Arc::clone(clock), ..config }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_registries_are_named_in_metrics() {
        let metrics = Arc::new(Metrics::new());
        let listed = BTreeSet::from(["reg.io".to_owned()]);
        let counted = Counted::new(listed, Arc::clone(&metrics));
        for (registry, outcome) in [
            ("reg.io", Outcome::Answered(200)),
            ("one.example", Outcome::Answered(429)),
            ("two.example", Outcome::Answered(429)),
        ] {
            counted.on_request(registry, Route::Manifest, outcome, None);
        }
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"{host="reg.io",route="manifest",outcome="ok"} 1"#), "{text}");
        let others = r#"{host="unlisted",route="manifest",outcome="throttled"} 2"#;
        assert!(text.contains(others), "{text}");
        assert!(!text.contains("example"), "{text}");
    }
}
