//! The section on evidence of a configuration in, what is remembered and for how long out.

use std::path::PathBuf;

use portcullis_core::image::Reference;
use serde::Deserialize;

use super::{Config, ConfigError, Span};
use crate::evidence::marks::{MAX_ENTRIES, MarksConfig};
use crate::evidence::memory::MemoryConfig;
use crate::resolve::ResolveConfig;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CacheFile {
    max_bytes: Option<u64>,
    /// What the registry client keeps; the registries take it from here.
    pub(super) content_bytes: Option<u64>,
    ttl: Option<Span>,
    negative_ttl: Option<Span>,
    stale_ttl: Option<Span>,
    tag_ttl: Option<Span>,
    search_timeout: Option<Span>,
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
    pub(super) fn into_configs(self, defaults: &Config) -> (MemoryConfig, ResolveConfig) {
        let Self {
            max_bytes,
            content_bytes: _,
            ttl,
            negative_ttl,
            stale_ttl,
            tag_ttl,
            search_timeout,
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
                failure_ttl: memory.failure_ttl,
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
