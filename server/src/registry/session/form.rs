//! Answers in, bytes for a store out, and back: what comes back has its digests, or does not come back.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{self, Descriptor, MAX_DESCRIPTORS, ReferrersError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Answers, MAX_ANSWERS};
use crate::registry::content::{Content, Kind};

/// The most bytes of the head, which has all but the contents.
const MAX_HEAD: usize = 8 * 1024 * 1024;

/// Why stored answers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// They are cut off, or longer than they may be.
    #[error("they have {length} bytes, which is not what their parts have")]
    Length {
        /// How many there are.
        length: usize,
    },
    /// The head is not what was written.
    #[error("their head cannot be read")]
    Head(#[source] serde_json::Error),
    /// A list is not one.
    #[error("a list in them cannot be read")]
    List(#[source] ReferrersError),
    /// Content has another digest than it was stored under.
    #[error("the content under `{0}` has another digest")]
    Digest(Digest),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    lists: BTreeMap<Digest, Value>,
    tags: BTreeMap<String, Option<Digest>>,
    contents: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    is_blob: bool,
    digest: Digest,
    media_type: String,
    length: usize,
}

impl Answers {
    /// The bytes that [`Self::decode`] reads. The same answers have the same bytes.
    ///
    /// # Errors
    /// When they are too long, or have no JSON form.
    pub fn encode(&self) -> Result<Vec<u8>, AnswersError> {
        let entry = |((kind, digest), content): (&(Kind, Digest), &Content)| Entry {
            is_blob: *kind == Kind::Blob,
            digest: *digest,
            media_type: content.media_type.clone(),
            length: content.bytes.len(),
        };
        let head = Head {
            lists: self.lists.iter().map(|(digest, list)| (*digest, written(list))).collect(),
            tags: self.tags.clone(),
            contents: self.contents.iter().map(entry).collect(),
        };
        let head = serde_json::to_vec(&head).map_err(AnswersError::Head)?;
        let length = head.len();
        let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_HEAD);
        let prefix = prefix.ok_or(AnswersError::Length { length })?;
        let mut bytes = Vec::with_capacity(4 + length + self.bytes());
        bytes.extend(prefix.to_be_bytes());
        bytes.extend(head);
        self.contents.values().for_each(|content| bytes.extend(&content.bytes));
        Ok(bytes)
    }

    /// Reads what [`Self::encode`] wrote, and takes nobody's word for it.
    ///
    /// # Errors
    /// When it is anything else, or any content has not its digest.
    pub fn decode(bytes: &Bytes) -> Result<Self, AnswersError> {
        let wrong = || AnswersError::Length { length: bytes.len() };
        if bytes.len() > 4 + MAX_HEAD + MAX_ANSWERS {
            return Err(wrong());
        }
        let (prefix, rest) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
        let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| wrong())?;
        let head = rest.get(..length).ok_or_else(wrong)?;
        let head: Head = serde_json::from_slice(head).map_err(AnswersError::Head)?;
        let mut at = 4 + length;
        let mut contents = BTreeMap::new();
        for Entry { is_blob, digest, media_type, length } in head.contents {
            let end = at.checked_add(length).filter(|end| *end <= bytes.len()).ok_or_else(wrong)?;
            let content = bytes.slice(at..end);
            if Digest::of(&content) != digest {
                return Err(AnswersError::Digest(digest));
            }
            let kind = if is_blob { Kind::Blob } else { Kind::Manifest };
            contents.insert((kind, digest), Content { bytes: content, media_type });
            at = end;
        }
        if at != bytes.len() {
            return Err(wrong());
        }
        let list = |(digest, value): (Digest, Value)| Ok((digest, read(&value)?));
        let lists = head.lists.into_iter().map(list).collect::<Result<_, AnswersError>>()?;
        Ok(Self { lists, tags: head.tags, contents })
    }
}

/// A list as a registry would give it, page by page: no page is longer than one that is read.
fn written(list: &[Descriptor]) -> Value {
    const PAGE: usize = 256;
    list.chunks(PAGE)
        .map(|page| json!({ "manifests": page.iter().map(entry).collect::<Vec<_>>() }))
        .collect()
}

fn read(pages: &Value) -> Result<Vec<Descriptor>, AnswersError> {
    let mut list = Vec::new();
    for page in pages.as_array().map(Vec::as_slice).unwrap_or_default() {
        let page = serde_json::to_vec(page).map_err(AnswersError::Head)?;
        list.extend(referrers::parse_list(&page).map_err(AnswersError::List)?);
        if list.len() > MAX_DESCRIPTORS {
            return Err(AnswersError::Length { length: list.len() });
        }
    }
    Ok(list)
}

fn entry(descriptor: &Descriptor) -> Value {
    let Descriptor { media_type, digest, size, artifact_type, annotations, platform } = descriptor;
    let mut entry = Map::new();
    entry.insert("mediaType".to_owned(), json!(media_type));
    entry.insert("digest".to_owned(), json!(digest));
    entry.insert("size".to_owned(), json!(size));
    if let Some(artifact_type) = artifact_type {
        entry.insert("artifactType".to_owned(), json!(artifact_type));
    }
    if !annotations.is_empty() {
        entry.insert("annotations".to_owned(), json!(annotations));
    }
    if let Some(platform) = platform {
        let mut parts = Map::new();
        parts.insert("os".to_owned(), json!(platform.os));
        parts.insert("architecture".to_owned(), json!(platform.architecture));
        if let Some(variant) = &platform.variant {
            parts.insert("variant".to_owned(), json!(variant));
        }
        entry.insert("platform".to_owned(), Value::Object(parts));
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests;
