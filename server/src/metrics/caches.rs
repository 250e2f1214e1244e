//! What is kept in memory and on disk, read when it is asked for.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

/// How much a cache holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheSize {
    /// How many things; `None` where they are not counted.
    pub entries: Option<u64>,
    /// What they weigh.
    pub bytes: u64,
}

type Sample = Box<dyn Fn() -> CacheSize + Send + Sync>;

/// The caches by name.
#[derive(Clone, Default)]
struct Caches(Arc<RwLock<Vec<(&'static str, Sample)>>>);

pub(super) struct CacheMetrics(Caches);

impl CacheMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let caches = Caches::default();
        registry.register_collector(Box::new(caches.clone()));
        Self(caches)
    }
}

impl Metrics {
    /// Shows what `size` tells, whenever metrics are asked for, as the cache `name`; whatever it told
    /// before under this name is gone. It must be quick.
    pub fn watch_cache(
        &self,
        name: &'static str,
        size: impl Fn() -> CacheSize + Send + Sync + 'static,
    ) {
        let mut caches = self.caches.0.0.write();
        caches.retain(|(known, _)| *known != name);
        caches.push((name, Box::new(size)));
    }
}

impl Collector for Caches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sizes: Vec<_> = self.0.read().iter().map(|(name, size)| (*name, size())).collect();
        let gauge = MetricType::Gauge;
        let help = "Things that are kept, by cache";
        let mut entries = encoder.encode_descriptor("cache_entries", help, None, gauge)?;
        for (name, size) in &sizes {
            if let Some(count) = size.entries {
                entries.encode_family(&[("cache", *name)])?.encode_gauge(&count)?;
            }
        }
        let help = "What they weigh, by cache";
        let mut bytes = encoder.encode_descriptor("cache", help, Some(&Unit::Bytes), gauge)?;
        for (name, size) in &sizes {
            bytes.encode_family(&[("cache", *name)])?.encode_gauge(&size.bytes)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.read().iter().map(|(name, _)| name)).finish()
    }
}
