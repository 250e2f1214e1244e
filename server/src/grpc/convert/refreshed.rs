//! What was looked at again in, the message that shows it out.

use portcullis_proto::v1;

use super::{evidence, timestamp};
use crate::refresh::asked::{Refreshed, RefreshedManifest};

pub(crate) fn refreshed(refreshed: &Refreshed) -> v1::RefreshResponse {
    v1::RefreshResponse {
        image: refreshed.image.to_string(),
        manifests: refreshed.manifests.iter().map(manifest).collect(),
        refreshed_at: Some(timestamp(refreshed.refreshed_at)),
    }
}

fn manifest(manifest: &RefreshedManifest) -> v1::RefreshedManifest {
    let RefreshedManifest { before, after, outcome } = manifest;
    v1::RefreshedManifest {
        before: before.as_ref().map(evidence),
        after: Some(evidence(after)),
        outcome: outcome.as_str().to_owned(),
    }
}
