//! Docker's registry (CNCF distribution): an envelope of notifications in, news out.
//!
//! <https://distribution.github.io/distribution/about/notifications/>

use serde_json::Value;

use super::news::{Delivery, Kind, News, NewsError, digest, list, read, subject_of, text};

/// An envelope as versions 2.x and 3.x send it.
pub(super) fn parse(body: &[u8]) -> Result<Delivery, NewsError> {
    let body = read(body)?;
    if !body.get("events").is_some_and(Value::is_array) {
        return Err(NewsError::Missing("/events"));
    }
    Ok(Delivery::all(list(&body, "/events")?.iter().map(news)))
}

fn news(event: &Value) -> Option<News> {
    let kind = match text(event, "/action")? {
        "push" => Kind::Pushed,
        "delete" => Kind::Deleted,
        // Pulls, and blobs that are mounted.
        _ => return None,
    };
    // Layers are pushed too. What is deleted has no type.
    let media_type = text(event, "/target/mediaType");
    if media_type.is_some_and(|t| !t.contains("manifest") && !t.contains("image.index")) {
        return None;
    }
    let repository = text(event, "/target/repository")?;
    let (host, tag) = (text(event, "/request/host"), text(event, "/target/tag"));
    let news = News::new(kind, host, repository, digest(event, "/target/digest"), tag)?;
    Some(news.attached(subject_of(media_type)))
}
