//! The bytes of a question about many images in, the question out; and its answer, and its bytes.

use portcullis_core::image::{Digest, Reference};
use portcullis_proto::v1;
use tonic::Status;

use super::action;
use super::request::ContextRead;
use super::response::{number, vary};
use crate::caller::Caller;
use crate::check::bulk::{BulkAnswer, BulkQuestion, MAX_BULK, Status as Known};
use crate::grpc::status;
use crate::grpc::wire::{Malformed, Reader, Writer};

/// The bytes of a raw digest.
const DIGEST: usize = 32;

/// Reads a `BulkCheckRequest`.
///
/// # Errors
/// INVALID_ARGUMENT when it is not one, there are no or too many digests or a part of one, a repository
/// is malformed, or there is a justification; the details name the field.
pub(in crate::grpc) fn bulk_question(message: &[u8]) -> Result<BulkQuestion, Status> {
    let mut request = Request::new();
    request.read(Reader::new(message)).map_err(|error| status::malformed(&error))?;
    request.question()
}

struct Request<'a> {
    context: ContextRead<'a>,
    container: &'a str,
    /// Repositories and raw digests; no more of them than there may be digests.
    images: Vec<(&'a str, &'a [u8])>,
    images_total: usize,
    bytes: usize,
}

impl<'a> Request<'a> {
    fn new() -> Self {
        let (context, images) = (ContextRead::new(), Vec::new());
        Self { context, container: "", images, images_total: 0, bytes: 0 }
    }

    fn read(&mut self, mut reader: Reader<'a>) -> Result<(), Malformed> {
        while let Some((field, value)) = reader.next()? {
            match field {
                1 => self.context.read(value.texts()?)?,
                2 => self.container = value.text()?,
                3 => {
                    let images = images(value.message()?)?;
                    self.bytes += images.1.len();
                    self.images_total += 1;
                    if self.images.len() < MAX_BULK {
                        self.images.push(images);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn question(self) -> Result<BulkQuestion, Status> {
        let total = self.bytes / DIGEST;
        if total == 0 {
            return Err(status::invalid("images", "there are no `images` to decide about"));
        }
        if total > MAX_BULK || self.images_total > MAX_BULK {
            let message = format!(
                "there are {total} digests in {} `images`, more than the {MAX_BULK} allowed in one question",
                self.images_total
            );
            return Err(status::invalid("images", &message));
        }
        let mut images = Vec::with_capacity(self.images.len());
        for (index, (repository, raw)) in self.images.into_iter().enumerate() {
            // With a tag of ours there can be none of theirs, and no digest.
            let image: Reference = format!("{repository}:x").parse().map_err(|error| {
                status::invalid(&format!("images[{index}].repository"), &format!("{error}"))
            })?;
            let (digests, rest) = raw.as_chunks::<DIGEST>();
            if !rest.is_empty() {
                let message = format!(
                    "`digests` is {} bytes long, which is no multiple of {DIGEST}",
                    raw.len()
                );
                return Err(status::invalid(&format!("images[{index}].digests"), &message));
            }
            images.push((image, digests.iter().copied().map(Digest::from_bytes).collect()));
        }
        let (context, nodes) = self.context.finish()?;
        if !context.break_glass.is_empty() {
            let message = "`context.break_glass` counts only in a question about one admission";
            return Err(status::invalid("context.break_glass", message));
        }
        let container = self.container.to_owned();
        let caller = Caller::default();
        Ok(BulkQuestion { context, nodes, container, images, caller })
    }
}

fn images(mut reader: Reader<'_>) -> Result<(&str, &[u8]), Malformed> {
    let (mut repository, mut digests) = ("", [].as_slice());
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => repository = value.text()?,
            2 => digests = value.bytes()?,
            _ => {}
        }
    }
    Ok((repository, digests))
}

/// Writes a `BulkCheckResponse`.
pub(in crate::grpc) fn bulk_answer(to: &mut Writer<'_>, answer: &BulkAnswer) {
    let decided = || answer.decided.iter();
    to.packed(1, decided().map(|decided| number(action(decided.action).into())));
    to.packed(2, decided().map(|decided| decided.rule.map_or(0, |place| place as u64 + 1)));
    to.packed(3, decided().map(|decided| decided.max_age.as_secs()));
    to.packed(4, decided().map(|decided| number(known(decided.status).into())));
    for rule in &answer.rules {
        to.element(5, rule);
    }
    to.text(6, answer.policy.revision());
    to.timestamp(7, answer.evaluated_at);
    vary(to, 8, &answer.policy, answer.depends);
    to.number(9, answer.pending as u64);
}

const fn known(status: Known) -> v1::EvidenceStatus {
    match status {
        Known::Verified => v1::EvidenceStatus::Verified,
        Known::Missing => v1::EvidenceStatus::Missing,
        Known::Unsupported => v1::EvidenceStatus::Unsupported,
        Known::Stale => v1::EvidenceStatus::Stale,
        Known::Withheld => v1::EvidenceStatus::Withheld,
        Known::Rejected => v1::EvidenceStatus::Rejected,
        Known::Unavailable => v1::EvidenceStatus::Unavailable,
    }
}
