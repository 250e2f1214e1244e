//! The section on evidence of a configuration in, what is remembered and for how long out.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_core::image::Reference;
use serde::Deserialize;

use super::{Config, ConfigError, Span};
use crate::evidence::marks::{MAX_ENTRIES, MarksConfig};
use crate::evidence::memory::MemoryConfig;
use crate::evidence::store::{MIN_BYTES, StoreConfig};
use crate::resolve::ResolveConfig;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CacheFile {
    max_bytes: Option<u64>,
    /// What the registry client keeps; the registries take it from here.
    pub(super) content_bytes: Option<u64>,
    ttl: Option<Span>,
    soft_ttl: Option<Span>,
    negative_ttl: Option<Span>,
    stale_ttl: Option<Span>,
    tag_ttl: Option<Span>,
    search_timeout: Option<Span>,
    store_bytes: Option<u64>,
}

/// The section on high-water marks.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MarksFile {
    max_entries: Option<usize>,
    #[serde(default)]
    forget: Vec<Pinned>,
}

/// An image by its digest.
struct Pinned(Reference);

impl<'de> Deserialize<'de> for Pinned {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let image: Reference = text.parse().map_err(serde::de::Error::custom)?;
        if image.digest().is_some() {
            return Ok(Self(image));
        }
        let why = format_args!("`{text}` has no digest: expected `registry/repository@sha256:…`");
        Err(serde::de::Error::custom(why))
    }
}

impl MarksFile {
    pub(super) fn into_config(self, folder: Option<PathBuf>) -> Result<MarksConfig, ConfigError> {
        let Self { max_entries, forget } = self;
        let max_entries = max_entries.unwrap_or(MAX_ENTRIES);
        if max_entries == 0 {
            return Err(ConfigError::Range { field: "marks.maxEntries", expected: "at least 1" });
        }
        let forget = forget.into_iter().map(|pinned| pinned.0).collect();
        Ok(MarksConfig { folder, max_entries, forget })
    }
}

impl CacheFile {
    /// What is kept on disk, in `folder`.
    pub(super) fn store(&self, folder: Option<PathBuf>) -> Result<StoreConfig, ConfigError> {
        let max_bytes = self.store_bytes.unwrap_or(StoreConfig::default().max_bytes);
        if max_bytes < MIN_BYTES {
            let (field, expected) = ("cache.storeBytes", "at least 1048576 (1 MiB)");
            return Err(ConfigError::Range { field, expected });
        }
        Ok(StoreConfig { folder, max_bytes })
    }

    pub(super) fn into_configs(self, defaults: &Config) -> (MemoryConfig, ResolveConfig) {
        let Self {
            max_bytes,
            content_bytes: _,
            ttl,
            soft_ttl,
            negative_ttl,
            stale_ttl,
            tag_ttl,
            search_timeout,
            store_bytes: _,
        } = self;
        let or = |span: Option<Span>, default| span.map_or(default, |span: Span| span.0);
        let memory = &defaults.memory;
        let ttl = or(ttl, memory.ttl);
        let search_timeout = or(search_timeout, memory.search_timeout);
        let stale_ttl = or(stale_ttl, memory.stale_ttl);
        (
            MemoryConfig {
                max_bytes: max_bytes.unwrap_or(memory.max_bytes),
                ttl,
                negative_ttl: or(negative_ttl, memory.negative_ttl),
                soft: soft_ttl.map_or(memory.soft, |soft| percent(soft.0, ttl)),
                spread: memory.spread,
                failure_ttl: memory.failure_ttl,
                max_failure_ttl: memory.max_failure_ttl,
                stale_ttl,
                search_timeout,
            },
            ResolveConfig {
                tag_ttl: or(tag_ttl, defaults.resolve.tag_ttl),
                access_ttl: ttl,
                stale_ttl,
                failure_ttl: defaults.resolve.failure_ttl,
                search_timeout,
            },
        )
    }
}

/// How much of `whole` a part is, in percent: at least 1 and at most 100.
fn percent(part: Duration, whole: Duration) -> u32 {
    let percent = part.as_millis() * 100 / whole.as_millis().max(1);
    u32::try_from(percent.clamp(1, 100)).unwrap_or(100)
}
