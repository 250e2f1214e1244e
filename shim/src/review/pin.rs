//! Decisions in, the change that lets run only what was decided about out.
//!
//! A tag may be moved between the decision and the pull, so the digest that was decided about is put behind
//! it. Only in pods: a template that is changed under a controller is drift to whoever keeps it in a file.

use super::outcome::{Action, Decision, Known, Outcome};
use super::question::{Image, Level, Place, Question, Review};
use super::response::PatchOp;

/// How many hexadecimal digits a digest has.
const DIGITS: usize = 64;

/// The change that pins the images of a pod.
pub(super) fn patch(review: &Review, question: &Question, outcome: &Outcome<'_>) -> Vec<PatchOp> {
    if review.object.level != Level::Pod {
        return Vec::new();
    }
    let is_justified = !question.context.break_glass.trim().is_empty();
    let known = question.images.iter().zip(&outcome.images);
    known.filter_map(|(image, known)| pinned(image, known, is_justified)).flatten().collect()
}

/// The change of one image, or none: if it has a digest already, must not run, or nothing is known of it. What has a
/// justification may run though it is denied here: by that alone an admission counts it.
fn pinned(image: &Image, known: &Known<'_>, is_justified: bool) -> Option<[PatchOp; 2]> {
    let Known::Decided(Decision { action, digest, .. }) = known else {
        return None;
    };
    if *action == Action::Deny && !is_justified {
        return None;
    }
    // Where a field is only taken for an image, it is not written to.
    let is_image = !matches!(image.place, Place::Unknown | Place::Configured);
    if !is_image || image.image.contains('@') || !is_digest(digest) {
        return None;
    }
    let (path, value) = (image.pointer.clone(), image.image.clone());
    let replaced = PatchOp::Replace { path: path.clone(), value: format!("{value}@{digest}") };
    Some([PatchOp::Test { path, value }, replaced])
}

fn is_digest(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = text.strip_prefix("sha256:");
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(is_digit))
}

#[cfg(test)]
mod tests;
