//! Azure Event Grid: a request in either of its schemas in, news of Azure's registries, or a handshake,
//! out.
//!
//! <https://learn.microsoft.com/azure/event-grid/event-schema-container-registry>

use serde_json::Value;

use super::acr;
use super::news::{Delivery, Kind, MAX_EVENTS, NewsError, needed, read, text};

const PREFIX: &str = "Microsoft.ContainerRegistry.";
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
/// The longest validation code that is sent back, in bytes.
pub(super) const MAX_CODE: usize = 512;

/// A list of events, or one; `eventType` is Event Grid's own schema, `type` that of CloudEvents.
pub(super) fn parse(body: &[u8]) -> Result<Delivery, NewsError> {
    let body = read(body)?;
    let events = match &body {
        Value::Array(events) => events.as_slice(),
        one => std::slice::from_ref(one),
    };
    if events.len() > MAX_EVENTS {
        return Err(NewsError::TooMany);
    }
    let mut news = Vec::with_capacity(events.len());
    for event in events {
        let kind = match text(event, "/eventType") {
            Some(kind) => kind,
            None => needed(event, "/type")?,
        };
        if kind == VALIDATION {
            let code = needed(event, "/data/validationCode")?;
            if code.len() > MAX_CODE {
                return Err(NewsError::Missing("/data/validationCode"));
            }
            return Ok(Delivery::Handshake(code.to_owned()));
        }
        let kind = match kind.strip_prefix(PREFIX) {
            Some("ImagePushed") => Kind::Pushed,
            Some("ImageDeleted") => Kind::Deleted,
            _ => {
                news.push(None);
                continue;
            }
        };
        news.push(event.get("data").and_then(|data| acr::news(kind, data)));
    }
    Ok(Delivery::all(news))
}
