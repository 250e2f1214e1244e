//! Draws in, encoded questions out: which image, in which of many clusters, asked how.
//!
//! What a message has in common with others is encoded before; a draw costs copies and a digest
//! written as hexadecimal digits.

use std::sync::Arc;

use portcullis_proto::v1;
use prost::Message as _;

use crate::image::{Images, OF_REPOSITORY};
use crate::zipf::Zipf;

mod answers;
mod review;

pub(crate) use self::answers::{read_bulk_answer, read_stream_answer};
pub(crate) use self::review::read_answer;

/// The path of each call.
const CHECK: &str = "/portcullis.v1.DecisionService/Check";
const CHECK_STREAM: &str = "/portcullis.v1.DecisionService/CheckStream";
const BULK_CHECK: &str = "/portcullis.v1.DecisionService/BulkCheck";
const REFRESH: &str = "/portcullis.v1.EvidenceService/Refresh";
/// As the API server asks a webhook that it waits 10 s for.
const REVIEW: &str = "/validate?timeout=10s";
/// The most containers of one question, as the service takes.
pub(crate) const MAX_CONTAINERS: u32 = 256;
/// The most images of one question in bulk that are asked about here: they fit into the window that
/// every connection begins with.
pub(crate) const MAX_BULK: u32 = 1_024;

/// How questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// A unary call for each.
    Check,
    /// Messages of long calls.
    CheckStream,
    /// A unary call for many images in one context.
    BulkCheck,
    /// A unary call that has an image looked at again.
    Refresh,
    /// A review of a pod with so many images, which the shim is asked about as API servers do.
    Review,
    /// A unary call to the bare echo.
    Echo,
}

impl Call {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Check => CHECK,
            Self::CheckStream => CHECK_STREAM,
            Self::BulkCheck => BULK_CHECK,
            Self::Refresh => REFRESH,
            Self::Review => REVIEW,
            Self::Echo => crate::echo::PATH,
        }
    }
}

/// Which image is asked about next.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pick {
    /// The first ones more often than the later ones, by Zipf's law with this exponent.
    Zipf(f64),
    /// One after the other, and again from the first.
    InTurn,
}

/// What is asked about.
pub(crate) struct Asked {
    /// How: decides what is around the question.
    pub(crate) call: Call,
    /// The images; of which only `count` from `from` on are asked about.
    pub(crate) images: Arc<Images>,
    /// The first of them.
    pub(crate) from: u32,
    /// How many, at least 1.
    pub(crate) count: u32,
    /// In which order.
    pub(crate) pick: Pick,
    /// Images in one question, at most [`MAX_CONTAINERS`].
    pub(crate) containers: u32,
    /// By tag instead of by digest.
    pub(crate) by_tag: bool,
    /// From how many clusters; each has ten namespaces of ten workloads.
    pub(crate) clusters: u32,
    /// For the draws.
    pub(crate) seed: u64,
}

/// Makes questions.
pub(crate) struct Questions {
    asked: Asked,
    contexts: Vec<Vec<u8>>,
    zipf: Option<Zipf>,
    turn: u32,
    random: fastrand::Rng,
    containers: Vec<u8>,
    image: Vec<u8>,
}

/// The most contexts that are made.
const MAX_CONTEXTS: u32 = 4_096;

impl Questions {
    pub(crate) fn new(asked: Asked) -> Self {
        let picked = Self::picked(&asked);
        let zipf = match asked.pick {
            Pick::Zipf(s) => Some(Zipf::new(picked, s)),
            Pick::InTurn => None,
        };
        let contexts = asked.clusters.max(1).saturating_mul(10).min(MAX_CONTEXTS);
        Self {
            contexts: (0..contexts).map(|at| context(at, asked.clusters.max(1))).collect(),
            zipf,
            turn: 0,
            random: fastrand::Rng::with_seed(asked.seed),
            containers: Vec::new(),
            image: Vec::new(),
            asked,
        }
    }

    pub(crate) const fn call(&self) -> Call {
        self.asked.call
    }

    /// How many there are of what is picked: images, or applications of several images each.
    fn picked(asked: &Asked) -> u32 {
        match asked.call {
            Call::Review => Self::applications(asked.count, asked.containers),
            _ => asked.count,
        }
    }

    /// Decisions in the answer to one question; a review is decided about as a whole.
    pub(crate) const fn checks(&self) -> u32 {
        match self.asked.call {
            Call::Check | Call::CheckStream | Call::BulkCheck => self.asked.containers,
            Call::Echo | Call::Refresh | Call::Review => 1,
        }
    }

    /// Writes the message of the next question to `out`. In a stream its id is `id`, which is above 0; a
    /// review has a uid that is made of it.
    pub(crate) fn write(&mut self, id: u64, out: &mut Vec<u8>) {
        out.clear();
        match self.asked.call {
            Call::BulkCheck => return self.write_bulk(out),
            Call::Review => {
                // Writing to a vector cannot fail.
                let _ = self.write_review(id, out);
                return;
            }
            Call::Refresh => {
                let index = self.draw();
                self.image.clear();
                self.asked.images.write(index, self.asked.by_tag, &mut self.image);
                put_key(out, 1, self.image.len());
                return out.extend_from_slice(&self.image);
            }
            Call::Check | Call::CheckStream | Call::Echo => {}
        }
        self.containers.clear();
        for _ in 0..self.asked.containers {
            let index = self.draw();
            let Self { containers, image, .. } = self;
            image.clear();
            self.asked.images.write(index, self.asked.by_tag, image);
            // Container: `name` and `image`.
            let name = b"main";
            put_key(containers, 2, 2 + name.len() + 1 + varint_length(image.len()) + image.len());
            put_key(containers, 1, name.len());
            containers.extend_from_slice(name);
            put_key(containers, 2, image.len());
            containers.extend_from_slice(image);
        }
        let Self { contexts, containers, random, .. } = self;
        let context = context_of(contexts, random);
        let length = context.len() + containers.len();
        match self.asked.call {
            Call::Check | Call::BulkCheck | Call::Refresh | Call::Review => {}
            Call::CheckStream => {
                out.push(1 << 3);
                put_varint(out, id);
                put_key(out, 2, length);
            }
            // One field of bytes, so that the whole is as long as the question would be.
            Call::Echo => {
                let inner = length.saturating_sub(1 + varint_length(length));
                put_key(out, 1, inner);
                let whole = out.len() + inner;
                out.extend_from_slice(context);
                out.extend_from_slice(containers);
                out.truncate(whole);
                return;
            }
        }
        out.extend_from_slice(context);
        out.extend_from_slice(containers);
    }
}

impl Questions {
    /// The next image.
    fn draw(&mut self) -> u32 {
        self.asked.from + self.pick()
    }

    fn pick(&mut self) -> u32 {
        if let Some(zipf) = &self.zipf {
            return zipf.draw(&mut self.random);
        }
        let index = self.turn;
        self.turn = if index + 1 < Self::picked(&self.asked) { index + 1 } else { 0 };
        index
    }

    /// A `BulkCheckRequest`: repositories are drawn by one of their images, and all images of each are
    /// asked about until there are enough.
    fn write_bulk(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(context_of(&self.contexts, &mut self.random));
        let (from, count) = (self.asked.from, self.asked.count);
        let mut left = self.asked.containers;
        while left > 0 {
            let drawn = self.draw();
            let first = (drawn - drawn % OF_REPOSITORY).max(from);
            let end = (drawn - drawn % OF_REPOSITORY + OF_REPOSITORY).min(from + count);
            let taken = (end - first).min(left);
            left -= taken;
            // BulkImages: `repository`, with the registry, and `digests`.
            self.image.clear();
            self.asked.images.write_repository(first, &mut self.image);
            let digests = usize::try_from(taken).unwrap_or_default() * 32;
            let [name, bytes] =
                [self.image.len(), digests].map(|length| 1 + varint_length(length) + length);
            put_key(out, 3, name + bytes);
            put_key(out, 1, self.image.len());
            out.extend_from_slice(&self.image);
            put_key(out, 2, digests);
            (first..first + taken)
                .filter_map(|index| self.asked.images.digest(index))
                .for_each(|digest| out.extend_from_slice(digest.as_bytes()));
        }
    }
}

fn context_of<'a>(contexts: &'a [Vec<u8>], random: &mut fastrand::Rng) -> &'a [u8] {
    let place = random.usize(..contexts.len().max(1));
    contexts.get(place).map(Vec::as_slice).unwrap_or_default()
}

/// The `context` of a `CheckRequest`, with its key.
fn context(at: u32, clusters: u32) -> Vec<u8> {
    let (cluster, place) = (at % clusters, at / clusters);
    let context = v1::Context {
        cluster: format!("cluster-{cluster:03}"),
        namespace: format!("team-{:02}", place % 10),
        workload: Some(v1::Workload {
            kind: "Deployment".to_owned(),
            name: format!("service-{:02}", at % 97),
        }),
        ..v1::Context::default()
    };
    let mut encoded = Vec::new();
    put_key(&mut encoded, 1, context.encoded_len());
    encoded.extend(context.encode_to_vec());
    encoded
}

/// A field of a length, `field` being at most 15.
fn put_key(out: &mut Vec<u8>, field: u8, length: usize) {
    out.push(field << 3 | 2);
    put_varint(out, u64::try_from(length).unwrap_or(u64::MAX));
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(0x80 | u8::try_from(value & 0x7f).unwrap_or_default());
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

const fn varint_length(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x0020_0000 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests;
