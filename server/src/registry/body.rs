//! A response in, its bytes within their bound out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use portcullis_core::json;
use portcullis_core::referrers::{MAX_DESCRIPTORS, MAX_MANIFEST, ReferrersError};
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
pub(super) fn content_type(headers: &HeaderMap, asked: &[&str]) -> Result<String, Fault> {
    let text = headers.get(CONTENT_TYPE).map_or(b"".as_slice(), |v| v.as_bytes());
    let essence = essence(headers);
    if asked.contains(&essence.as_str()) {
        return Ok(essence);
    }
    Err(Fault::ContentType(quote(&String::from_utf8_lossy(text))))
}

/// Whether the body is declared to be HTML: what a proxy or a login page says, and no registry.
pub(super) fn is_html(headers: &HeaderMap) -> bool {
    essence(headers) == "text/html"
}

/// Whether the body may be an error or a page in place of a manifest: HTML, plain text, JSON, or of
/// no type at all.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    matches!(essence(headers).as_str(), "text/html" | "text/plain" | "application/json" | "")
}

/// Whether the body is declared to be anything.
pub(super) fn is_declared(headers: &HeaderMap) -> bool {
    !essence(headers).is_empty()
}

/// The content type without its parameters, in lower case; empty if there is none.
fn essence(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).map_or(b"".as_slice(), |v| v.as_bytes());
    let text = String::from_utf8_lossy(text);
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
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

/// A document of `host`'s own making that cannot be read. What is only too much is its pushers'.
pub(super) fn unreadable(host: &Host, error: ReferrersError) -> RegistryError {
    refused(host, error, |fault| RegistryError::protocol(&host.name, fault))
}

/// A document that `host` holds for a pusher, and that cannot be read.
pub(super) fn unreadable_as_pushed(host: &Host, error: ReferrersError) -> RegistryError {
    refused(host, error, |fault| RegistryError::malformed(&host.name, fault))
}

fn refused(
    host: &Host,
    error: ReferrersError,
    other: impl FnOnce(Fault) -> RegistryError,
) -> RegistryError {
    match error {
        error @ ReferrersError::Entry(_) => {
            RegistryError::malformed(&host.name, Fault::Document(Arc::new(error)))
        }
        ReferrersError::TooLarge { .. } => {
            RegistryError::TooLarge { what: "manifest", limit: MAX_MANIFEST }
        }
        ReferrersError::TooMany { .. } => {
            RegistryError::TooMany { what: "descriptors", limit: MAX_DESCRIPTORS }
        }
        error @ (ReferrersError::Malformed(_)
        | ReferrersError::Ambiguous(_)
        | ReferrersError::Platform
        | ReferrersError::NoList
        | ReferrersError::MediaType(_)) => other(Fault::Document(Arc::new(error))),
    }
}
