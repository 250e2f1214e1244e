//! A response in, its bytes within their bound out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use portcullis_core::json;
use reqwest::Response;
use serde::Deserialize;

use super::error::{Fault, RegistryError, quote};
use super::exchange::unreachable;
use super::host::Host;

/// The largest error document that is read, in bytes.
const MAX_ERROR_DOCUMENT: usize = 64 * 1024;

/// Reads at most `limit` bytes, whatever the response says of its length. Where there is one more,
/// the connection is closed.
pub(super) async fn read(
    host: &Host,
    response: Response,
    what: &'static str,
    limit: usize,
) -> Result<Bytes, RegistryError> {
    let mut bytes = BytesMut::new();
    each(host, response, |chunk| {
        if chunk.len() > limit.saturating_sub(bytes.len()) {
            return Err(RegistryError::TooLarge { what, limit });
        }
        bytes.extend_from_slice(chunk);
        Ok(())
    })
    .await?;
    Ok(bytes.freeze())
}

/// Gives every piece of the body to `take`, until that fails.
pub(super) async fn each(
    host: &Host,
    mut response: Response,
    mut take: impl FnMut(&Bytes) -> Result<(), RegistryError>,
) -> Result<(), RegistryError> {
    if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        let encoding = quote(&String::from_utf8_lossy(encoding.as_bytes()));
        return Err(RegistryError::protocol(&host.name, Fault::ContentEncoding(encoding)));
    }
    while let Some(chunk) = response.chunk().await.map_err(|e| unreachable(host, e))? {
        take(&chunk)?;
    }
    Ok(())
}

/// The content type without its parameters, if it is one of `asked`.
pub(super) fn content_type(
    host: &Host,
    headers: &HeaderMap,
    asked: &[&str],
) -> Result<String, RegistryError> {
    let text = headers.get(CONTENT_TYPE).map_or(b"".as_slice(), |v| v.as_bytes());
    let text = String::from_utf8_lossy(text);
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if asked.contains(&essence.as_str()) {
        return Ok(essence);
    }
    Err(RegistryError::protocol(&host.name, Fault::ContentType(quote(&text))))
}

#[derive(Deserialize)]
struct ErrorDocument {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: String,
}

/// What a 404 says: that `what` is not there if a registry says so in its own words
/// (distribution-spec, "Error Codes"; `NOT_FOUND` is Harbor's), else that we do not know who spoke.
/// A proxy before a registry that is down answers 404 too.
pub(super) async fn not_found(host: &Host, response: Response, what: String) -> RegistryError {
    let bytes = match read(host, response, "error document", MAX_ERROR_DOCUMENT).await {
        Ok(bytes) => bytes,
        Err(error) => return error,
    };
    let known = |entry: &ErrorEntry| {
        matches!(
            entry.code.as_str(),
            "MANIFEST_UNKNOWN"
                | "MANIFEST_BLOB_UNKNOWN"
                | "BLOB_UNKNOWN"
                | "NAME_UNKNOWN"
                | "NOT_FOUND"
        )
    };
    match json::from_slice::<ErrorDocument>(&bytes) {
        Ok(document) if !document.errors.is_empty() && document.errors.iter().all(known) => {
            RegistryError::NotFound { host: host.name.clone(), what }
        }
        _ => RegistryError::protocol(&host.name, Fault::NotFoundByWhom),
    }
}

/// A document that cannot be read, as an error of `host`.
pub(super) fn unreadable(
    host: &Host,
    error: portcullis_core::referrers::ReferrersError,
) -> RegistryError {
    RegistryError::protocol(&host.name, Fault::Document(Arc::new(error)))
}
