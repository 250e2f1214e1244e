//! Azure Container Registry: a webhook's body, or the data of an event of Event Grid, in, news out.
//!
//! <https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference>

use serde_json::Value;

use super::news::{Delivery, Kind, News, NewsError, digest, needed, read, subject_of, text};

/// A webhook's request.
pub(super) fn parse(body: &[u8]) -> Result<Delivery, NewsError> {
    let body = read(body)?;
    let kind = match needed(&body, "/action")? {
        "push" => Kind::Pushed,
        "delete" => Kind::Deleted,
        // Charts, quarantine, and the test of a webhook.
        _ => return Ok(Delivery::one(None)),
    };
    Ok(Delivery::one(news(kind, &body)))
}

/// What `target` and `request` say, which Event Grid has in the same words.
pub(super) fn news(kind: Kind, event: &Value) -> Option<News> {
    let repository = text(event, "/target/repository")?;
    let (host, tag) = (text(event, "/request/host"), text(event, "/target/tag"));
    let news = News::new(kind, host, repository, digest(event, "/target/digest"), tag)?;
    Some(news.attached(subject_of(text(event, "/target/mediaType"))))
}
