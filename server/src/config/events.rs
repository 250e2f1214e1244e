//! The section on the record of decisions of a configuration in, where and how much of it is kept out.

use std::path::Path;

use serde::Deserialize;

use super::{ConfigError, Span};
use crate::events::spool::{MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, SpoolConfig, folder_of};

/// The longest that decisions may wait in memory, in milliseconds.
const MAX_SYNC: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SpoolFile {
    max_bytes: Option<u64>,
    max_age: Option<Span>,
    segment_bytes: Option<u64>,
    sync: Option<Span>,
}

impl SpoolFile {
    /// The record is in `data_dir`; without one there is none.
    pub(super) fn into_config(self, data_dir: Option<&Path>) -> Result<SpoolConfig, ConfigError> {
        let Self { max_bytes, max_age, segment_bytes, sync } = self;
        let defaults = SpoolConfig::default();
        let max_bytes = max_bytes.unwrap_or(defaults.max_bytes);
        // Several segments in each half, so that the oldest can go.
        let segment_bytes = segment_bytes.unwrap_or(defaults.segment_bytes.min(max_bytes / 8));
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&segment_bytes) {
            let expected = "64 KiB to 512 MiB, and an eighth of `spool.maxBytes` at most";
            return Err(ConfigError::Range { field: "spool.segmentBytes", expected });
        }
        if max_bytes / 8 < segment_bytes {
            let expected = "at least eight times `spool.segmentBytes`";
            return Err(ConfigError::Range { field: "spool.maxBytes", expected });
        }
        let sync = sync.map_or(defaults.sync, |span| span.0);
        if sync > MAX_SYNC {
            return Err(ConfigError::Range { field: "spool.sync", expected: "at most 10s" });
        }
        Ok(SpoolConfig {
            folder: data_dir.map(folder_of),
            max_bytes,
            max_age: max_age.map_or(defaults.max_age, |span| span.0),
            segment_bytes,
            sync,
        })
    }
}
