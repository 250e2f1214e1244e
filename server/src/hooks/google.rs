//! Google Artifact Registry through Pub/Sub: a push in, news out.
//!
//! <https://cloud.google.com/artifact-registry/docs/configure-notifications>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::news::{Delivery, Kind, News, NewsError, needed, read, text};

/// A message of the topic `gcr` or of the one on occurrences of Container Analysis; in Pub/Sub's
/// envelope, or without it where the subscription unwraps.
pub(super) fn parse(body: &[u8]) -> Result<Delivery, NewsError> {
    let body = read(body)?;
    if body.get("message").is_none() {
        return message(&body);
    }
    let data = needed(&body, "/message/data")?;
    let data = BASE64_STANDARD.decode(data).map_err(|_| NewsError::Missing("/message/data"))?;
    message(&read(&data)?)
}

fn message(message: &Value) -> Result<Delivery, NewsError> {
    let kind = match (text(message, "/action"), text(message, "/kind")) {
        (Some("INSERT"), _) => Kind::Pushed,
        (Some("DELETE"), _) => Kind::Deleted,
        (None, Some("VULNERABILITY" | "DISCOVERY")) => {
            // The message names an occurrence; of what image is in the occurrence itself, which is asked
            // of an API with credentials that we do not have.
            let image = text(message, "/resourceUri");
            let image = image.map(|uri| uri.strip_prefix("https://").unwrap_or(uri));
            return Ok(Delivery::one(image.and_then(|image| named(Kind::Scanned, image, None))));
        }
        (None, None) => return Err(NewsError::Missing("/action")),
        _ => return Ok(Delivery::one(None)),
    };
    let (image, tag) = (text(message, "/digest"), text(message, "/tag"));
    Ok(Delivery::one(match (image, tag) {
        (Some(image), tag) => named(kind, image, tag.and_then(tag_of)),
        (None, Some(tagged)) => {
            let name = tag_of(tagged).and_then(|tag| tagged.strip_suffix(tag)?.strip_suffix(':'));
            name.and_then(|name| place(kind, name, None, tag_of(tagged)))
        }
        (None, None) => None,
    }))
}

/// The tag of `host/path:tag`.
fn tag_of(image: &str) -> Option<&str> {
    image.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
}

/// News of `host/path@digest`.
fn named(kind: Kind, image: &str, tag: Option<&str>) -> Option<News> {
    let (name, digest) = image.split_once('@')?;
    place(kind, name, Some(digest), tag)
}

fn place(kind: Kind, name: &str, digest: Option<&str>, tag: Option<&str>) -> Option<News> {
    let (host, repository) = name.split_once('/')?;
    News::new(kind, Some(host), repository, digest.and_then(|d| d.parse().ok()), tag)
}
