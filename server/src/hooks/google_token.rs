//! A token of a push of Google Pub/Sub in, whether Google signed it for us out.
//!
//! <https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions>; RFC 7515, RFC 7519.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use portcullis_core::json::{self, JsonError};
use portcullis_core::ports::Clock;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::registry::{DownloadError, Downloads};

/// Where Google's keys are.
pub const KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";
/// Who Google says that it is.
pub const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;
/// The largest document of keys that is read, in bytes.
pub const MAX_KEYS_BYTES: usize = 64 * 1024;
/// The most keys in one document.
pub const MAX_KEYS: usize = 32;
/// By how much clocks may differ, in seconds.
const SKEW: i64 = 60;
/// For how long keys are used without asking again.
const FRESH: Duration = Duration::from_hours(1);
/// For how long keys are used where they cannot be asked for again.
const USABLE: Duration = Duration::from_hours(24);
/// How often keys are asked for at the most, whatever tokens come and whatever fails.
const PAUSE: Duration = Duration::from_secs(30);
/// How long keys may take.
const FETCH: Duration = Duration::from_secs(5);

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is no token that is read.
    #[error("it is not a signed JSON web token of at most {MAX_TOKEN} bytes")]
    Malformed,
    /// Another algorithm, or a critical extension.
    #[error("it is not signed with RS256 and nothing else")]
    Algorithm,
    /// Nobody who is trusted has that key.
    #[error("it is signed with a key that Google does not list")]
    UnknownKey,
    /// The signature is another's.
    #[error("its signature is wrong")]
    Signature,
    /// What it claims is not what is configured.
    #[error("its claim `{0}` is not what is configured")]
    Claim(&'static str),
    /// It is not yet, or no longer, good.
    #[error("it is not good at this time")]
    Time,
    /// The keys cannot be had.
    #[error("the keys of Google cannot be had")]
    Keys(#[source] Option<KeysError>),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// They cannot be downloaded.
    #[error("they cannot be downloaded")]
    Download(#[from] DownloadError),
    /// They do not come.
    #[error("they did not come in time")]
    Late,
    /// They cannot be read.
    #[error("they cannot be read")]
    Malformed(#[from] JsonError),
    /// Too many.
    #[error("there are more than the {MAX_KEYS} allowed")]
    TooMany,
}

/// Verifies tokens for one subscription.
pub struct GoogleToken {
    /// What the subscription puts into `aud`.
    pub audience: String,
    /// The service account of the subscription.
    pub email: String,
    /// Google's keys.
    pub keys: Keys,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Keys that are asked for when they are needed.
pub struct Keys {
    url: String,
    downloads: Arc<Downloads>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    keys: Vec<Key>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    email: String,
    email_verified: bool,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Clone)]
struct Key {
    id: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl GoogleToken {
    /// Verifies signature and claims.
    ///
    /// # Errors
    /// When one is not as it should be, or the keys cannot be had.
    pub async fn verify(&self, token: &str) -> Result<(), TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = part(header)?;
        if header.alg != "RS256" || header.crit.is_some() {
            return Err(TokenError::Algorithm);
        }
        let signature = decoded(signature)?;
        let key = self.keys.find(&header.kid).await?;
        let public = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
        public
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        self.accept(&part(claims)?)
    }

    fn accept(&self, claims: &Claims) -> Result<(), TokenError> {
        let claim = |holds: bool, name| if holds { Ok(()) } else { Err(TokenError::Claim(name)) };
        claim(ISSUERS.contains(&claims.iss.as_str()), "iss")?;
        claim(claims.aud == self.audience, "aud")?;
        claim(claims.email == self.email, "email")?;
        claim(claims.email_verified, "email_verified")?;
        let now = self.clock.now().unix_timestamp();
        let begins = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
        if claims.exp <= now - SKEW || begins > now + SKEW {
            return Err(TokenError::Time);
        }
        Ok(())
    }
}

impl Keys {
    /// The keys at `url`, of which none is known yet.
    #[must_use]
    pub fn new(url: String, downloads: Downloads) -> Self {
        Self { url, downloads: Arc::new(downloads), kept: Arc::default() }
    }

    async fn find(&self, id: &str) -> Result<Key, TokenError> {
        // Who comes meanwhile waits, for no longer than the keys may take.
        let mut kept = Arc::clone(&self.kept).lock_owned().await;
        let known = |kept: &Kept| kept.keys.iter().find(|key| key.id == id).cloned();
        let age = kept.fetched.map(|at| at.elapsed());
        if let Some(key) = known(&kept).filter(|_| age.is_some_and(|age| age < FRESH)) {
            return Ok(key);
        }
        if kept.tried.is_none_or(|at| at.elapsed() >= PAUSE) {
            kept.tried = Some(Instant::now());
            let (url, downloads) = (self.url.clone(), Arc::clone(&self.downloads));
            // A sender that goes away must not take it with it: nobody would try again for a while.
            let fetched = tokio::spawn(async move {
                let failed = match fetch(&url, &downloads).await {
                    Ok(keys) => {
                        *kept = Kept { keys, fetched: kept.tried, tried: kept.tried };
                        None
                    }
                    Err(error) => Some(error),
                };
                (kept, failed)
            });
            let (own, failed) = fetched.await.map_err(|_| TokenError::Keys(None))?;
            kept = own;
            match failed {
                None => {}
                Some(error) if age.is_none_or(|age| age >= USABLE) => {
                    return Err(TokenError::Keys(Some(error)));
                }
                Some(error) => {
                    let error = crate::chain::detail(&error);
                    tracing::warn!(error, "the keys of Google stay as they were");
                }
            }
        }
        match kept.fetched {
            Some(at) if at.elapsed() < USABLE => known(&kept).ok_or(TokenError::UnknownKey),
            _ => Err(TokenError::Keys(None)),
        }
    }
}

async fn fetch(url: &str, downloads: &Downloads) -> Result<Vec<Key>, KeysError> {
    let asked = downloads.get(url, MAX_KEYS_BYTES);
    let bytes = timeout(FETCH, asked).await.map_err(|_| KeysError::Late)??;
    let Jwks { keys } = json::from_slice(&bytes)?;
    if keys.len() > MAX_KEYS {
        return Err(KeysError::TooMany);
    }
    Ok(keys.into_iter().filter_map(Jwk::into_key).collect())
}

impl Jwk {
    /// A key that can be used for RS256; others are no business of ours.
    fn into_key(self) -> Option<Key> {
        let Self { kty, kid, alg, n, e } = self;
        if kty != "RSA" || alg.is_some_and(|alg| alg != "RS256") {
            return None;
        }
        let bytes = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
        Some(Key { id: kid?, modulus: bytes(n)?, exponent: bytes(e)? })
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

fn part<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    json::from_slice(&decoded(part)?).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests;
