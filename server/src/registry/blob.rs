//! A descriptor in, the blob that it describes out, and nothing else.

use bytes::{Bytes, BytesMut};
use portcullis_core::image::{Digest, Reference};
use portcullis_core::referrers::Descriptor;
use tokio::time::Instant;

use super::error::{Fault, RegistryError};
use super::exchange::Request;
use super::host::Host;
use super::observe::Route;
use super::{Registry, body, url};

impl Registry {
    /// The blob that `descriptor` describes, of at most `limit` bytes, from this host.
    pub(super) async fn fetch_blob(
        &self,
        host: &Host,
        image: &Reference,
        descriptor: &Descriptor,
        limit: usize,
        deadline: Instant,
    ) -> Result<Bytes, RegistryError> {
        let declared = descriptor.size;
        let url = url(host, image, &format!("blobs/{}", descriptor.digest))?;
        let request = Request::get(Route::Blob, url, "*/*", deadline);
        let response = self.exchange.ask(host, image.repository(), &request).await?;
        match response.status().as_u16() {
            200 => {}
            404 => {
                let what = format!("blob `{}` in `{}`", descriptor.digest, image.repository());
                return Err(body::not_found(host, response, what).await);
            }
            status => return Err(RegistryError::protocol(&host.name, Fault::Status(status))),
        }
        let wrong = |fault| RegistryError::protocol(&host.name, fault);
        // Hashed as it comes: no long stretch of work at the end, and grown as it comes, since the
        // size is only a claim. What is longer is hashed too: if it has the digest, the claim is the
        // pusher's lie.
        let is_html = body::is_html(response.headers());
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let mut bytes = BytesMut::new();
        body::each(host, response, |chunk| {
            if chunk.len() > limit.saturating_sub(bytes.len()) {
                if is_html {
                    return Err(wrong(Fault::Size { declared }));
                }
                return Err(RegistryError::TooLarge { what: "blob", limit });
            }
            hash.update(chunk);
            bytes.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
        let hash = hash.finish();
        if hash.as_ref() != descriptor.digest.as_bytes() {
            let received = Digest::of(&bytes);
            return Err(wrong(Fault::Digest { asked: descriptor.digest, received }));
        }
        if u64::try_from(bytes.len()) != Ok(declared) {
            return Err(RegistryError::malformed(&host.name, Fault::Size { declared }));
        }
        Ok(bytes.freeze())
    }
}
