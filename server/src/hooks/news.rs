//! What one event of a registry says, whatever dialect it is said in.

use portcullis_core::image::Digest;
use portcullis_core::json::{self, JsonError};
use serde_json::Value;

/// The longest body of a request that is read, in bytes. Event Grid sends up to 1 MB at once.
pub const MAX_BODY: usize = 1024 * 1024;
/// The most values (members, elements, scalars) in one body.
pub const MAX_VALUES: usize = 100_000;
/// The most events in one body, and the most tags in one event.
pub const MAX_EVENTS: usize = 1_000;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A manifest came, or a tag was moved to it.
    Pushed,
    /// A scan of an image ended, or what it found has changed.
    Scanned,
    /// A manifest or a tag went.
    Deleted,
}

/// What the pushed manifest is attached to, as far as the event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// To this manifest.
    Told(Digest),
    /// To nothing.
    Nothing,
    /// The event does not say; the manifest may.
    Unsaid,
}

/// One thing that a registry tells of. Nothing in it is checked but the digests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct News {
    /// What happened.
    pub kind: Kind,
    /// The host of the registry, if the event names one.
    pub registry: Option<String>,
    /// The repository.
    pub repository: String,
    /// The manifest, if the event names it.
    pub digest: Option<Digest>,
    /// The tag, if the event names one.
    pub tag: Option<String>,
    /// What it is attached to.
    pub subject: Subject,
}

/// What a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Events.
    News {
        /// Those that concern us, in their order.
        news: Vec<News>,
        /// How many others there are: pulls, layers, charts, what has no digest of ours.
        ignored: usize,
    },
    /// The sender wants to know that it may send: the code to answer with.
    Handshake(String),
}

/// Why a body is not one of its dialect.
#[derive(Debug, thiserror::Error)]
pub enum NewsError {
    /// No JSON, too deep, too many values, or a key twice.
    #[error("the body is not JSON that is read")]
    Json(#[from] JsonError),
    /// Something that every event of the dialect has is not there.
    #[error("the body is no event of this kind: `{0}` is missing or is not text")]
    Missing(&'static str),
    /// More events, or more tags in an event, than are read.
    #[error("the body has more than the {MAX_EVENTS} events or tags allowed")]
    TooMany,
}

/// A whole body as JSON.
pub(super) fn read(body: &[u8]) -> Result<Value, NewsError> {
    json::walk(body, MAX_VALUES)?;
    Ok(serde_json::from_slice(body).map_err(JsonError::from)?)
}

/// The text at `path`, a JSON pointer, unless it is empty.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str().filter(|text| !text.is_empty())
}

/// As [`text`], where there must be some.
pub(super) fn needed<'a>(value: &'a Value, path: &'static str) -> Result<&'a str, NewsError> {
    text(value, path).ok_or(NewsError::Missing(path))
}

/// The digest at `path`. What is none of ours is none.
pub(super) fn digest(value: &Value, path: &str) -> Option<Digest> {
    text(value, path)?.parse().ok()
}

/// The elements at `path`, none if there is no list.
pub(super) fn list<'a>(value: &'a Value, path: &str) -> Result<&'a [Value], NewsError> {
    let list = value.pointer(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if list.len() > MAX_EVENTS { Err(NewsError::TooMany) } else { Ok(list) }
}

/// The subject of what has this media type: lists and indexes are attached to nothing we look for.
pub(super) fn subject_of(media_type: Option<&str>) -> Subject {
    let is_list = |t: &str| t.contains("image.index") || t.contains("manifest.list");
    if media_type.is_some_and(is_list) { Subject::Nothing } else { Subject::Unsaid }
}

impl Delivery {
    /// One event, or none that concerns us.
    pub(super) fn one(news: Option<News>) -> Self {
        Self::all([news])
    }

    /// Events, and what of them does not concern us.
    pub(super) fn all(events: impl IntoIterator<Item = Option<News>>) -> Self {
        let (mut news, mut ignored) = (Vec::new(), 0);
        for event in events {
            match event {
                Some(event) => news.push(event),
                None => ignored += 1,
            }
        }
        Self::News { news, ignored }
    }
}

impl News {
    /// Something with a digest, or a tag, or both; with neither it says nothing.
    pub(super) fn new(
        kind: Kind,
        registry: Option<&str>,
        repository: &str,
        digest: Option<Digest>,
        tag: Option<&str>,
    ) -> Option<Self> {
        // Harbor and ACR name a digest where there is no tag.
        let tag = tag.filter(|tag| !tag.is_empty() && !tag.contains(':'));
        if digest.is_none() && tag.is_none() {
            return None;
        }
        let subject = match kind {
            Kind::Pushed | Kind::Deleted => Subject::Unsaid,
            // It is images that are scanned.
            Kind::Scanned => Subject::Nothing,
        };
        Some(Self {
            kind,
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            digest,
            tag: tag.map(str::to_owned),
            subject,
        })
    }

    /// The same, attached to this.
    pub(super) fn attached(mut self, subject: Subject) -> Self {
        if self.kind != Kind::Scanned {
            self.subject = subject;
        }
        self
    }
}
