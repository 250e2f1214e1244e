//! A digest or a tag in, the manifest that one registry has under it out.

use portcullis_core::image::{Digest, Reference};
use portcullis_core::referrers::MAX_MANIFEST;
use reqwest::Response;
use tokio::time::Instant;

use super::error::{Fault, RegistryError};
use super::exchange::Request;
use super::host::Host;
use super::observe::Route;
use super::{Fetched, MANIFEST_TYPES, MANIFESTS, Registry, body, url};

impl Registry {
    /// The manifest with this digest. What has the digest and is not declared to be a manifest was
    /// pushed so; the type is looked at last, since only the digest tells that from an error page.
    pub(super) async fn by_digest(
        &self,
        host: &Host,
        image: &Reference,
        asked: Digest,
        deadline: Instant,
    ) -> Result<Fetched, RegistryError> {
        let wrong = |fault| RegistryError::protocol(&host.name, fault);
        let response = self.answer(host, image, &asked.to_string(), deadline).await?;
        let is_page = body::is_page(response.headers());
        let is_declared = body::is_declared(response.headers());
        let media_type = body::content_type(response.headers(), &MANIFEST_TYPES);
        let bytes = match (body::read(host, response, "manifest", MAX_MANIFEST).await, &media_type)
        {
            (Err(RegistryError::TooLarge { .. }), Err(fault)) if is_page => {
                return Err(wrong(fault.clone()));
            }
            (bytes, _) => bytes?,
        };
        let digest = Digest::of(&bytes);
        match media_type {
            Ok(media_type) if digest == asked => Ok(Fetched { bytes, media_type, digest }),
            Ok(_) => Err(wrong(Fault::Digest { asked, received: digest })),
            Err(fault) if digest == asked && is_declared => {
                Err(RegistryError::malformed(&host.name, fault))
            }
            Err(fault) => Err(wrong(fault)),
        }
    }

    /// The manifest with this tag. The registry's `Docker-Content-Digest` is not looked at. A type
    /// that is neither a manifest's nor a page's is one that somebody pushed.
    pub(super) async fn by_tag(
        &self,
        host: &Host,
        image: &Reference,
        tag: &str,
        deadline: Instant,
    ) -> Result<Fetched, RegistryError> {
        let response = self.answer(host, image, tag, deadline).await?;
        let is_page = body::is_page(response.headers());
        let refuse = if is_page { RegistryError::protocol } else { RegistryError::malformed };
        let media_type = body::content_type(response.headers(), &MANIFEST_TYPES)
            .map_err(|fault| refuse(&host.name, fault))?;
        let bytes = body::read(host, response, "manifest", MAX_MANIFEST).await?;
        let digest = Digest::of(&bytes);
        Ok(Fetched { bytes, media_type, digest })
    }

    /// What the registry answers for the manifest with this tag or digest, if it has one.
    async fn answer(
        &self,
        host: &Host,
        image: &Reference,
        name: &str,
        deadline: Instant,
    ) -> Result<Response, RegistryError> {
        let url = url(host, image, &format!("manifests/{name}"))?;
        let request = Request::get(Route::Manifest, url, MANIFESTS, deadline);
        let response = self.exchange.ask(host, image.repository(), &request).await?;
        match response.status().as_u16() {
            200 => Ok(response),
            404 => {
                let what = format!("manifest `{name}` in `{}`", image.repository());
                Err(body::not_found(host, response, what).await)
            }
            status => Err(RegistryError::protocol(&host.name, Fault::Status(status))),
        }
    }
}
