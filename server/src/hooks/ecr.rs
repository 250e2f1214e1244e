//! Amazon ECR and Inspector through EventBridge: an event as an API destination sends it in, news out.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>

use serde_json::Value;

use super::news::{Delivery, Kind, MAX_EVENTS, News, NewsError, digest, list, needed, read, text};

/// One event.
pub(super) fn parse(body: &[u8]) -> Result<Delivery, NewsError> {
    let body = read(body)?;
    let detail = |path: &str| text(&body, path);
    match needed(&body, "/detail-type")? {
        "ECR Image Action" => match (detail("/detail/result"), detail("/detail/action-type")) {
            (Some("SUCCESS"), Some("PUSH")) => image(&body, Kind::Pushed),
            (Some("SUCCESS"), Some("DELETE")) => image(&body, Kind::Deleted),
            _ => Ok(Delivery::one(None)),
        },
        // Also one that failed, after which the report is another.
        "ECR Image Scan" | "Inspector2 Scan" => image(&body, Kind::Scanned),
        "Inspector2 Finding" => finding(&body),
        _ => Ok(Delivery::one(None)),
    }
}

/// Where the registry of the account is.
fn host(event: &Value) -> Option<String> {
    let (account, region) = (text(event, "/account")?, text(event, "/region")?);
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    Some(format!("{account}.dkr.ecr.{region}.amazonaws.com{suffix}"))
}

/// A repository's name, of which Inspector gives the ARN.
fn repository(name: &str) -> &str {
    if !name.starts_with("arn:") {
        return name;
    }
    name.split_once(":repository/").map_or(name, |(_, name)| name)
}

fn image(event: &Value, kind: Kind) -> Result<Delivery, NewsError> {
    let repository = repository(needed(event, "/detail/repository-name")?);
    let host = host(event);
    let digest = digest(event, "/detail/image-digest");
    let tags = list(event, "/detail/image-tags")?.iter().filter_map(Value::as_str);
    let tags = text(event, "/detail/image-tag").into_iter().chain(tags);
    let news = |tag| News::new(kind, host.as_deref(), repository, digest, tag);
    let mut all: Vec<_> = tags.map(|tag| news(Some(tag))).collect();
    if all.is_empty() {
        all.push(news(None));
    }
    Ok(Delivery::all(all))
}

/// What Inspector found, or found no more, in images.
fn finding(event: &Value) -> Result<Delivery, NewsError> {
    let host = host(event);
    let resources = list(event, "/detail/resources")?;
    let news = resources.iter().take(MAX_EVENTS).map(|resource| {
        let image = resource.pointer("/details/awsEcrContainerImage")?;
        let name = text(image, "/repositoryName")?;
        let digest = digest(image, "/imageHash");
        News::new(Kind::Scanned, host.as_deref(), repository(name), digest, None)
    });
    Ok(Delivery::all(news))
}
