//! A manifest or index in, what it names for the nodes of a cluster out.

use std::sync::Arc;

use portcullis_core::evidence::{Evidence, Reason, Rejection};
use portcullis_core::image::{Digest, Platform};
use portcullis_core::referrers::{self, Document, Index};

use super::{MAX_PLATFORMS, Resolved, Unresolved, is_linux};
use crate::chain::detail;
use crate::registry::Fetched;

/// What a manifest or index means.
///
/// # Errors
/// When it cannot be read, or in two ways, or has platforms that nobody would look at.
pub(crate) fn read(fetched: &Fetched) -> Result<Resolved, Unresolved> {
    let Fetched { bytes, media_type, digest } = fetched;
    let digest = *digest;
    let rejected = |reason, detail| {
        Arc::new(Evidence::Rejected(Rejection { reason, report: Some(digest), detail }))
    };
    match referrers::parse(bytes, media_type) {
        Ok(Document::Manifest(_)) => Ok(Resolved { digest, platforms: Vec::new() }),
        Ok(Document::Index(index)) if index.is_nested() => {
            let detail = "an entry of the index is an index itself, whose images nobody looks at";
            Err(rejected(Reason::Malformed, detail.to_owned()))
        }
        Ok(Document::Index(index)) => {
            let platforms = platforms(&index);
            let linux = platforms.iter().filter(|(platform, _)| is_linux(platform)).count();
            if linux.max(platforms.len() - linux) > MAX_PLATFORMS {
                let detail = format!(
                    "the index has {} platforms, more than the {MAX_PLATFORMS} allowed",
                    platforms.len()
                );
                return Err(rejected(Reason::TooMany, detail));
            }
            Ok(Resolved { digest, platforms })
        }
        Err(error) => Err(rejected(Reason::Malformed, detail(&error))),
    }
}

/// The entries that a node can run.
fn platforms(index: &Index) -> Vec<(Platform, Digest)> {
    let runnable = index
        .manifests
        .iter()
        .filter_map(|entry| entry.runnable_platform().map(|platform| (platform, entry.digest)));
    let mut runnable: Vec<_> = runnable.collect();
    runnable.sort();
    runnable.dedup();
    runnable
}
