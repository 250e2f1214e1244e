//! What fuzz targets call.

use std::collections::BTreeMap;

use super::content::{self, JSON, VEX_MEDIA_TYPES};
use super::{Input, statement};
use crate::image::Digest;
use crate::referrers::{CREATED, IN_TOTO};

/// Reads `bytes` as a document of every format, and turns them into a statement.
pub fn report(bytes: &[u8]) {
    for media_type in [IN_TOTO, JSON].into_iter().chain(VEX_MEDIA_TYPES) {
        read(bytes, media_type);
    }
    let _ = statement::from_report(bytes, "image", Digest::of(b""));
}

/// Reads a document with the marker fields `head` before what `bytes` add to it, so that the reader
/// of one format is reached without guessing them.
pub fn of_format(head: &str, bytes: &[u8]) {
    let mut document = head.as_bytes().to_vec();
    document.extend_from_slice(bytes);
    read(&document, JSON);
}

fn read(bytes: &[u8], media_type: &str) {
    let annotations = &BTreeMap::from([(CREATED.to_owned(), "2026-01-01T00:00:00Z".to_owned())]);
    let _ = content::read(&Input { bytes, media_type, subject: Digest::of(b""), annotations });
}
