//! zot: a CloudEvent, structured or binary, in, news out.
//!
//! <https://zotregistry.dev/latest/articles/events/>

use serde_json::Value;

use super::news::{Delivery, Kind, News, NewsError, Subject, digest, needed, read, text};

/// A request. `ce_type` is its header of that name, which CloudEvents in binary mode have. The host is
/// in none of them.
pub(super) fn parse(ce_type: Option<&str>, body: &[u8]) -> Result<Delivery, NewsError> {
    let body = read(body)?;
    let (kind, data) = match ce_type {
        Some(kind) => (kind, Some(&body)),
        None => (needed(&body, "/type")?, body.get("data")),
    };
    let kind = match kind {
        "zotregistry.image.updated" => Kind::Pushed,
        "zotregistry.image.scanned" => Kind::Scanned,
        "zotregistry.image.deleted" => Kind::Deleted,
        _ => return Ok(Delivery::one(None)),
    };
    let Some(data) = data else { return Err(NewsError::Missing("/data")) };
    let repository = needed(data, "/name")?;
    let news = News::new(kind, None, repository, digest(data, "/digest"), text(data, "/reference"));
    let subject = text(data, "/manifest").map_or(Subject::Unsaid, subject);
    Ok(Delivery::one(news.map(|news| news.attached(subject))))
}

/// What a manifest says that it is attached to. It is only a hint of where to look.
fn subject(manifest: &str) -> Subject {
    let Ok(manifest) = read(manifest.as_bytes()) else { return Subject::Unsaid };
    match manifest.get("subject") {
        None | Some(Value::Null) => Subject::Nothing,
        Some(_) => digest(&manifest, "/subject/digest").map_or(Subject::Unsaid, Subject::Told),
    }
}
