//! Harbor: a webhook's body, in its default form or as CloudEvents, in, news out.
//!
//! <https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/>

use serde_json::Value;

use super::news::{Delivery, Kind, News, NewsError, digest, list, needed, read, text};

/// A request. `ce_type` is its header of that name, which CloudEvents in binary mode have.
pub(super) fn parse(ce_type: Option<&str>, body: &[u8]) -> Result<Delivery, NewsError> {
    let body = read(body)?;
    let default = body.get("event_data");
    let (kind, data) = match (ce_type, default) {
        (Some(kind), _) => (kind, Some(&body)),
        (None, Some(data)) => (needed(&body, "/type")?, Some(data)),
        (None, None) => (needed(&body, "/type")?, body.get("data")),
    };
    let kind = match kind {
        "PUSH_ARTIFACT" | "harbor.artifact.pushed" => Kind::Pushed,
        "DELETE_ARTIFACT" | "harbor.artifact.deleted" => Kind::Deleted,
        "SCANNING_COMPLETED"
        | "SCANNING_FAILED"
        | "SCANNING_STOPPED"
        | "harbor.scan.completed"
        | "harbor.scan.failed"
        | "harbor.scan.stopped" => Kind::Scanned,
        _ => return Ok(Delivery::one(None)),
    };
    let Some(data) = data else { return Err(NewsError::Missing("/data")) };
    let repository = needed(data, "/repository/repo_full_name")?;
    let resources = list(data, "/resources")?;
    Ok(Delivery::all(resources.iter().map(|resource| news(kind, repository, resource))))
}

fn news(kind: Kind, repository: &str, resource: &Value) -> Option<News> {
    // `harbor.dev/library/debian@sha256:…`
    let host = text(resource, "/resource_url").and_then(|url| url.split_once('/'));
    let host = host.map(|(host, _)| host).filter(|host| !host.is_empty());
    News::new(kind, host, repository, digest(resource, "/digest"), text(resource, "/tag"))
}
