//! Quay: a notification in, news of tags out. It names no digest.
//!
//! <https://docs.quay.io/guides/notifications.html>

use serde_json::Value;

use super::news::{Delivery, Kind, MAX_EVENTS, News, NewsError, list, needed, read, text};

/// A request.
pub(super) fn parse(body: &[u8]) -> Result<Delivery, NewsError> {
    let body = read(body)?;
    let repository = needed(&body, "/repository")?;
    // `quay.io/ns/name`
    let host = text(&body, "/docker_url").and_then(|url| url.split_once('/')).map(|(host, _)| host);
    let (kind, tags) = if body.get("updated_tags").is_some() {
        (Kind::Pushed, updated(&body)?)
    } else if body.get("vulnerability").is_some() {
        let tags = list(&body, "/tags")?.iter().filter_map(Value::as_str).collect();
        (Kind::Scanned, tags)
    } else {
        return Ok(Delivery::one(None));
    };
    if tags.is_empty() {
        return Ok(Delivery::one(None));
    }
    Ok(Delivery::all(
        tags.into_iter().map(|tag| News::new(kind, host, repository, None, Some(tag))),
    ))
}

/// A list of tags or, in older versions, an object with the tags as its names.
fn updated(body: &Value) -> Result<Vec<&str>, NewsError> {
    match body.get("updated_tags") {
        Some(Value::Object(tags)) if tags.len() > MAX_EVENTS => Err(NewsError::TooMany),
        Some(Value::Object(tags)) => Ok(tags.keys().map(String::as_str).collect()),
        _ => Ok(list(body, "/updated_tags")?.iter().filter_map(Value::as_str).collect()),
    }
}
