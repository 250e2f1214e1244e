//! A name in, a certificate that signs itself, its key, and who trusts it out: for servers on loopback.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::generate_simple_self_signed;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The name in it.
const NAME: &str = "localhost";
/// The file of the certificate, and that of its key.
pub(crate) const FILES: (&str, &str) = ("tls.crt", "tls.key");
/// What API servers speak to webhooks: one request after the other on each connection.
/// <https://github.com/kubernetes/kubernetes/issues/75791> says why they do not ask for HTTP/2.
const HTTP1: &[u8] = b"http/1.1";

/// A certificate and its key.
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Makes one, and writes it with its key to `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let made = generate_simple_self_signed([NAME.to_owned()])?;
        for (file, text) in
            [(FILES.0, made.cert.pem()), (FILES.1, made.signing_key.serialize_pem())]
        {
            let path = folder.join(file);
            fs::write(&path, text)
                .with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        Ok(Self { der: made.cert.der().clone() })
    }

    /// What a client has that trusts this certificate and nothing else, and the name to ask for.
    pub(crate) fn client(&self) -> anyhow::Result<(Arc<ClientConfig>, ServerName<'static>)> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let mut client = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![HTTP1.to_vec()];
        Ok((Arc::new(client), ServerName::try_from(NAME)?))
    }
}

/// What a server has that shows the certificate in `folder`.
///
/// # Errors
/// When there is none, or it cannot be used.
pub(crate) fn server(folder: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let (certificate, key) = (folder.join(FILES.0), folder.join(FILES.1));
    let of = |path: &Path| format!("failed to use `{}`", path.display());
    let chain = CertificateDer::from_pem_file(&certificate).with_context(|| of(&certificate))?;
    let key = PrivateKeyDer::from_pem_file(&key).with_context(|| of(&key))?;
    let mut server = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)?;
    server.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(Arc::new(server))
}
