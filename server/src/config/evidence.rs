//! The section on evidence of a configuration in, what is remembered and for how long out.

use serde::Deserialize;

use super::{Config, Span};
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
