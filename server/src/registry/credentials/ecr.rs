//! An identity in AWS and a registry's host in, the password out that ECR takes for half a day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use serde::Deserialize;
use url::Url;

use super::aws::{AwsIdentity, Key, Keys};
use super::call::{Call, own_endpoint};
use super::error::CredentialError;
use super::kept::{Given, Kept};
use super::sigv4::{self, Scope, Signable};
use super::{Credential, MAX_PLACES, Setting};
use crate::registry::config::Secret;
use crate::registry::host::Host;

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";
/// The longest name of a region.
const MAX_REGION: usize = 32;

/// Who asks registries of AWS.
#[derive(Clone)]
pub struct EcrConfig {
    who: AwsIdentity,
    sts: Option<Url>,
    ecr: Option<Url>,
}

impl EcrConfig {
    /// Asks as `who`.
    #[must_use]
    pub const fn new(who: AwsIdentity) -> Self {
        Self { who, sts: None, ecr: None }
    }

    /// Asks these origins in place of a region's own.
    ///
    /// # Errors
    /// When one is neither TLS nor this machine.
    pub fn at(self, sts: Option<&str>, ecr: Option<&str>) -> Result<Self, CredentialError> {
        let sts = sts.map(own_endpoint).transpose()?;
        Ok(Self { sts, ecr: ecr.map(own_endpoint).transpose()?, ..self })
    }

    /// Whether `host`, which may be a pattern, is a registry of AWS.
    #[must_use]
    pub fn is_for(host: &str) -> bool {
        let parts: Vec<_> = host.split('.').collect();
        match parts.as_slice() {
            [account, "dkr", service, region, rest @ ..] => {
                is_account(account)
                    && matches!(*service, "ecr" | "ecr-fips")
                    && (*region == "*" || is_region(region))
                    && matches!(rest, ["amazonaws", "com"] | ["amazonaws", "com", "cn"])
            }
            _ => false,
        }
    }

    pub(super) fn identity(&self) -> String {
        self.who.identity()
    }
}

/// A region of AWS, as the host of a registry in it says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Region {
    name: String,
    fips: bool,
    /// `amazonaws.com`, or that of China.
    domain: &'static str,
}

impl Region {
    /// Reads `<account>.dkr.ecr[-fips].<region>.amazonaws.com[.cn]`, and nothing like it.
    pub(super) fn of(host: &str) -> Option<Self> {
        let (account, rest) = host.split_once(".dkr.")?;
        let (service, rest) = rest.split_once('.')?;
        let (region, domain) = rest.split_once('.')?;
        let fips = match service {
            "ecr" => false,
            "ecr-fips" => true,
            _ => return None,
        };
        let domain = match (domain, region.starts_with("cn-")) {
            ("amazonaws.com", false) => "amazonaws.com",
            ("amazonaws.com.cn", true) => "amazonaws.com.cn",
            _ => return None,
        };
        let known = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        (known && is_region(region)).then(|| Self { name: region.to_owned(), fips, domain })
    }

    /// The origin of a service in this region.
    pub(super) fn endpoint(&self, service: &str) -> Result<Url, CredentialError> {
        let text = format!("https://{service}.{}.{}/", self.name, self.domain);
        Url::parse(&text).map_err(|_| CredentialError::Endpoint(text))
    }
}

fn is_account(text: &str) -> bool {
    text == "*" || (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()))
}

/// Words with `-` between them, at least three, the last one a number: `us-gov-east-1`.
fn is_region(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.as_slice() {
        [words @ .., number] if words.len() >= 2 && text.len() <= MAX_REGION => {
            words.iter().all(word)
                && number.len() == 1
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    }
}

/// Gets passwords for regions.
pub(super) struct Ecr {
    config: EcrConfig,
    keys: Keys,
    setting: Setting,
    regions: Mutex<BTreeMap<Region, Arc<InRegion>>>,
}

/// One password is for all registries of a region that its asker may see.
struct InRegion {
    key: Kept<Key>,
    password: Kept<Credential>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: Vec<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    authorization_token: String,
    expires_at: f64,
}

impl Ecr {
    pub(super) fn new(config: EcrConfig, setting: &Setting) -> Self {
        let keys = Keys::new(config.who.clone(), config.sts.clone(), setting);
        Self { config, keys, setting: setting.clone(), regions: Mutex::default() }
    }

    pub(super) async fn get(&self, host: &Host) -> Result<Arc<Credential>, CredentialError> {
        let region = Region::of(&host.name).filter(|_| super::is_at_home(host));
        let region =
            region.ok_or_else(|| CredentialError::Host { host: host.name.clone(), kind: "ecr" })?;
        let kept = self.kept(&region);
        kept.password.get(|| self.password(&kept, &region)).await
    }

    pub(super) fn forget(&self, registry: &str, refused: &Arc<Credential>) -> bool {
        Region::of(registry).is_some_and(|region| self.kept(&region).password.forget(refused))
    }

    fn kept(&self, region: &Region) -> Arc<InRegion> {
        let mut regions = self.regions.lock();
        if regions.len() >= MAX_PLACES && !regions.contains_key(region) {
            regions.clear();
        }
        let fresh = || {
            let observer = || Arc::clone(&self.setting.observer);
            Arc::new(InRegion {
                key: Kept::new("aws", observer()),
                password: Kept::new("ecr", observer()),
            })
        };
        Arc::clone(regions.entry(region.clone()).or_insert_with(fresh))
    }

    async fn password(
        &self,
        kept: &InRegion,
        region: &Region,
    ) -> Result<Given<Credential>, CredentialError> {
        let key = kept.key.get(|| self.keys.ask(region)).await?;
        let url = match (&self.config.ecr, region.fips) {
            (Some(url), _) => url.clone(),
            (None, true) => region.endpoint("ecr-fips")?,
            (None, false) => region.endpoint("api.ecr")?,
        };
        let reply = self.setting.caller.ask(&self.signed(&url, &key, region)?).await?;
        if matches!(reply.status, 400 | 403) {
            // It may be the key that has ended.
            kept.key.forget(&key);
        }
        let Answer { authorization_data } = reply.json(|document| {
            let kind = document.get("__type")?.as_str()?;
            Some(kind.rsplit('#').next().unwrap_or(kind).to_owned())
        })?;
        let wrong = || reply.wrong("it is not the document expected");
        let Data { authorization_token, expires_at } =
            authorization_data.into_iter().next().ok_or_else(wrong)?;
        let pair = BASE64_STANDARD.decode(authorization_token).map_err(|_| wrong())?;
        let pair = String::from_utf8(pair).map_err(|_| wrong())?;
        let (username, password) = pair.split_once(':').ok_or_else(wrong)?;
        if pair.chars().any(char::is_control) {
            return Err(wrong());
        }
        let (username, password) = (username.to_owned(), Secret::new(password.to_owned()));
        let now = self.setting.clock.now().unix_timestamp();
        // Exact to the second until long after all of us.
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double")]
        let life = expires_at - now as f64;
        let life = Duration::try_from_secs_f64(life.clamp(0.0, 1e6)).unwrap_or_default();
        Ok(Given { value: Credential::Basic { username, password }, life })
    }

    fn signed(&self, url: &Url, key: &Key, region: &Region) -> Result<Call, CredentialError> {
        let service = "ECR";
        let never = |why| move || CredentialError::Answer { service, why };
        let at = self.setting.clock.now();
        let date = sigv4::date_time(at).ok_or_else(never("our clock is out of range"))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let mut headers = vec![
            ("content-type", MEDIA_TYPE),
            ("host", host.as_str()),
            ("x-amz-date", date.as_str()),
            ("x-amz-target", TARGET),
        ];
        if let Some(session) = &key.session {
            headers.push(("x-amz-security-token", session.expose()));
        }
        let request = Signable { method: "POST", path: "/", headers: &headers, body: b"{}" };
        let scope = Scope { region: &region.name, service: "ecr", at };
        let authorization = sigv4::authorization(&request, &scope, &key.id, key.secret.expose())
            .ok_or_else(never("our clock is out of range"))?;
        let mut call = Call::post(service, url.clone(), MEDIA_TYPE, Bytes::from_static(b"{}"))
            .header(AUTHORIZATION, &authorization)?
            .header(HeaderName::from_static("x-amz-date"), &date)?
            .header(HeaderName::from_static("x-amz-target"), TARGET)?;
        if let Some(session) = &key.session {
            let name = HeaderName::from_static("x-amz-security-token");
            call = call.header(name, session.expose())?;
        }
        Ok(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t041_the_region_is_that_of_a_registry_of_aws_and_of_nothing_like_one() {
        let region = |host: &str| Region::of(host).map(|r| (r.name, r.fips, r.domain));
        for (host, name, fips, domain) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1", false, "amazonaws.com"),
            (
                "123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com",
                "us-gov-east-1",
                true,
                "amazonaws.com",
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                false,
                "amazonaws.com.cn",
            ),
        ] {
            assert_eq!(region(host), Some((name.to_owned(), fips, domain)), "{host}");
            assert!(EcrConfig::is_for(host));
        }
        for host in [
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
            "12345678901a.dkr.ecr.eu-west-1.amazonaws.com",
            "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-west-1.evil-amazonaws.com",
            "123456789012.dkr.ecr.evil.example.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:444",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-11.amazonaws.com",
            "123456789012.dkr.ecr.eu_west-1.amazonaws.com",
            "123456789012.dkr.ecr.west-1.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.evil.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q-1.amazonaws.com",
            "public.ecr.aws",
            "",
        ] {
            assert_eq!(region(host), None, "{host}");
        }
    }

    #[test]
    fn t041_a_pattern_is_for_registries_of_aws_alone() {
        for host in ["*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr-fips.us-east-1.amazonaws.com"] {
            assert!(EcrConfig::is_for(host), "{host}");
        }
        for host in ["*.*.ecr.*.amazonaws.com", "*.dkr.ecr.*.*.com", "*.amazonaws.com", "*"] {
            assert!(!EcrConfig::is_for(host), "{host}");
        }
    }
}
