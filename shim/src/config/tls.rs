//! The section on TLS in, where our certificate is from out: files, or ourselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use portcullis_config::Span;
use portcullis_tls::PairFiles;
use serde::Deserialize;

use super::{ConfigError, TlsConfig};
use crate::renewal::{ApiConfig, Object, RenewalConfig, Terms};

/// The most DNS names of a certificate that renews itself, and the most configurations of webhooks of each kind.
pub const MAX_OWN_NAMES: usize = 16;
/// Where Kubernetes puts the token of a pod, and who signs the API server's certificate.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The shortest life of a certificate that renews itself.
const SHORTEST: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_hours(24);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TlsFile {
    #[serde(alias = "certFile")]
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    #[serde(rename = "self")]
    own: Option<OwnFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OwnFile {
    secret: String,
    names: Vec<String>,
    #[serde(default)]
    validating_webhooks: Vec<String>,
    #[serde(default)]
    mutating_webhooks: Vec<String>,
    certificate_life: Option<Span<365>>,
    authority_life: Option<Span<3650>>,
    api_server: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl TlsFile {
    pub(super) fn into_tls(
        self,
        folder: &Path,
        namespace: Option<&str>,
    ) -> Result<TlsConfig, ConfigError> {
        let Self { certificate_file, key_file, client_ca_file, own } = self;
        let (pair, renewal) = match (certificate_file, key_file, own) {
            (Some(certificate), Some(key), None) => {
                let (certificate, key) = (folder.join(certificate), folder.join(key));
                (Some(PairFiles { certificate, key }), None)
            }
            (None, None, Some(own)) => (None, Some(own.into_renewal(folder, namespace)?)),
            _ => return Err(ConfigError::Source),
        };
        let client_authorities = client_ca_file.map(|path| folder.join(path));
        Ok(TlsConfig { pair, renewal, client_authorities })
    }
}

impl OwnFile {
    fn into_renewal(
        self,
        folder: &Path,
        namespace: Option<&str>,
    ) -> Result<RenewalConfig, ConfigError> {
        let Self {
            secret,
            names,
            validating_webhooks,
            mutating_webhooks,
            certificate_life,
            authority_life,
            api_server,
            token_file,
            ca_file,
        } = self;
        let namespace = namespace.ok_or(ConfigError::NoNamespace)?.to_owned();
        for (field, names) in [
            ("tls.self.names", &names),
            ("tls.self.validatingWebhooks", &validating_webhooks),
            ("tls.self.mutatingWebhooks", &mutating_webhooks),
        ] {
            checked(field, names)?;
        }
        checked("tls.self.secret", std::slice::from_ref(&secret))?;
        let validating = validating_webhooks.into_iter().map(Object::Validating);
        let webhooks: Vec<_> =
            validating.chain(mutating_webhooks.into_iter().map(Object::Mutating)).collect();
        if names.is_empty() || webhooks.is_empty() {
            return Err(ConfigError::NoWebhooks);
        }
        let certificate_life = certificate_life.map_or(DAY * 30, |span| span.0);
        let authority_life = authority_life.map_or(DAY * 365, |span| span.0);
        if certificate_life < SHORTEST {
            let (field, expected) = ("tls.self.certificateLife", "at least 10s");
            return Err(ConfigError::Range { field, expected });
        }
        if authority_life < certificate_life * 3 {
            let (field, expected) =
                ("tls.self.authorityLife", "at least three times as long as `certificateLife`");
            return Err(ConfigError::Range { field, expected });
        }
        let account = Path::new(ACCOUNT);
        let file = |given: Option<PathBuf>, name: &str| {
            given.map_or_else(|| account.join(name), |path| folder.join(path))
        };
        let (host, port) =
            address(api_server.as_deref().unwrap_or("https://kubernetes.default.svc"))?;
        Ok(RenewalConfig {
            api: ApiConfig {
                host,
                port,
                authorities: file(ca_file, "ca.crt"),
                token: file(token_file, "token"),
            },
            secret: Object::Secret { namespace, name: secret },
            webhooks,
            terms: Terms { names, certificate_life, authority_life },
        })
    }
}

/// The host and the port of an `https://` address.
fn address(text: &str) -> Result<(String, u16), ConfigError> {
    let wrong = || ConfigError::ApiServer(text.to_owned());
    let url: Uri = text.parse().map_err(|_| wrong())?;
    if url.scheme_str() != Some("https") || !matches!(url.path(), "" | "/") {
        return Err(wrong());
    }
    let host = url.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
    portcullis_tls::name(&host).ok_or_else(wrong)?;
    Ok((host, url.port_u16().unwrap_or(443)))
}

/// Names as Kubernetes has them for these objects, which are DNS names too.
fn checked(field: &'static str, names: &[String]) -> Result<(), ConfigError> {
    if names.len() > MAX_OWN_NAMES {
        return Err(ConfigError::Range { field, expected: "at most 16 names" });
    }
    let is_name = |name: &&String| {
        (1..=253).contains(&name.len())
            && name.split('.').all(|part| {
                let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
                (1..=63).contains(&part.len())
                    && part.bytes().all(inner)
                    && !part.starts_with('-')
                    && !part.ends_with('-')
            })
    };
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(ConfigError::Name { field, name: name.clone() }),
        None => Ok(()),
    }
}
