//! Signed requests in, ECR's passwords out; and a registry that takes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use portcullis_core::ports::Clock;
use serde_json::json;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::{Answer, Asked, Service, registry, registry_error};
use crate::TestkitError;

/// How far the clocks may be apart, in seconds.
const SKEW: i64 = 300;
/// For how long a password is good, in seconds.
const LIFE: i64 = 12 * 3600;

/// A key of AWS.
#[derive(Debug, Clone)]
pub struct AwsKey {
    /// Its name.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The token of its session, if it is one of a session.
    pub session: Option<String>,
}

/// ECR's own service and a registry of it, at one address.
#[derive(Debug)]
pub struct Ecr {
    /// Where it is.
    pub service: Service,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    region: String,
    key: AwsKey,
    given: u32,
    password: Option<String>,
}

impl Ecr {
    /// ECR in `region`, for who signs with `key`. Its passwords have `canary` in them.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start(
        region: &str,
        key: AwsKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TestkitError> {
        let region = region.to_owned();
        let state = Arc::new(Mutex::new(State { region, key, given: 0, password: None }));
        let shared = Arc::clone(&state);
        let answer = move |asked: &Asked| {
            let mut state = shared.lock();
            if asked.path.starts_with("/v2/") {
                state.image(asked)
            } else {
                state.token(asked, clock.now().unix_timestamp())
            }
        };
        Ok(Self { service: Service::start(answer).await?, state })
    }

    /// Takes another key from now on.
    pub fn take(&self, key: AwsKey) {
        self.state.lock().key = key;
    }

    /// Ends the password that was given.
    pub fn expire(&self) {
        self.state.lock().password = None;
    }
}

impl State {
    fn token(&mut self, asked: &Asked, now: i64) -> Answer {
        let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        if !asked.is("POST", "/") || asked.header("x-amz-target") != Some(target) {
            return refused("UnknownOperationException", "");
        }
        if asked.header("content-type") != Some("application/x-amz-json-1.1") {
            return refused("UnknownOperationException", "");
        }
        if let Err(code) = self.check(asked, now) {
            // As a careless service would: the text of the error repeats what was sent.
            return refused(code, asked.header("authorization").unwrap_or_default());
        }
        if asked.body.as_ref() != b"{}" {
            return refused("SerializationException", "");
        }
        self.given += 1;
        let password = format!("canary-ecr-password-{}", self.given);
        let token = BASE64_STANDARD.encode(format!("AWS:{password}"));
        self.password = Some(password);
        let data = json!({
            "authorizationToken": token,
            // As it is: with a fraction.
            "expiresAt": f64::from(u32::try_from(now + LIFE).unwrap_or_default()) + 0.5,
            "proxyEndpoint": format!("https://123456789012.dkr.ecr.{}.amazonaws.com", self.region),
        });
        Answer::new(
            200,
            "application/x-amz-json-1.1",
            json!({"authorizationData": [data]}).to_string(),
        )
    }

    /// Computes the signature from the request as it came, and compares.
    fn check(&self, asked: &Asked, now: i64) -> Result<(), &'static str> {
        let malformed = "IncompleteSignatureException";
        let given = asked.header("authorization").ok_or("MissingAuthenticationTokenException")?;
        let parts = given.strip_prefix("AWS4-HMAC-SHA256 ").ok_or(malformed)?;
        let parts: BTreeMap<_, _> = parts.split(", ").filter_map(|p| p.split_once('=')).collect();
        let part = |name: &str| parts.get(name).copied().ok_or(malformed);
        let (credential, signed, signature) =
            (part("Credential")?, part("SignedHeaders")?, part("Signature")?);

        let stamp = asked.header("x-amz-date").ok_or(malformed)?;
        let form = format_description!("[year][month][day]T[hour][minute][second]Z");
        let at = PrimitiveDateTime::parse(stamp, &form).map_err(|_| malformed)?;
        let day = stamp.get(..8).ok_or(malformed)?;
        let scope = format!("{day}/{}/ecr/aws4_request", self.region);
        let (id, given_scope) = credential.split_once('/').ok_or(malformed)?;
        if id != self.key.id {
            return Err("UnrecognizedClientException");
        }
        if asked.header("x-amz-security-token") != self.key.session.as_deref() {
            return Err("ExpiredTokenException");
        }
        if given_scope != scope || (at.assume_utc().unix_timestamp() - now).abs() > SKEW {
            return Err("InvalidSignatureException");
        }
        let names: Vec<_> = signed.split(';').collect();
        // What is not signed can be changed on the way; AWS wants these, and every `x-amz-*`.
        let amazon = asked.headers.keys().map(http::HeaderName::as_str);
        let wanted =
            amazon.filter(|name| name.starts_with("x-amz-")).chain(["host", "content-type"]);
        if !names.is_sorted() || wanted.into_iter().any(|name| !names.contains(&name)) {
            return Err("InvalidSignatureException");
        }
        let mut canonical = format!("{}\n{}\n{}\n", asked.method, asked.path, asked.query);
        for name in &names {
            let value = asked.header(name).ok_or("InvalidSignatureException")?;
            canonical.push_str(&format!("{name}:{}\n", value.trim()));
        }
        canonical.push_str(&format!("\n{signed}\n{}", sha256(&asked.body)));
        let hashed = sha256(canonical.as_bytes());
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}");
        let key = mac(format!("AWS4{}", self.key.secret).as_bytes(), day);
        let key = mac(key.as_ref(), &self.region);
        let key = mac(mac(key.as_ref(), "ecr").as_ref(), "aws4_request");
        if hex(mac(key.as_ref(), &text).as_ref()) == signature {
            Ok(())
        } else {
            Err("InvalidSignatureException")
        }
    }

    fn image(&self, asked: &Asked) -> Answer {
        match (asked.basic(), &self.password) {
            (Some((user, given)), Some(password)) if user == "AWS" && given == *password => {
                registry(asked)
            }
            // An old password is answered so, without a challenge.
            (Some(_), _) => registry_error(403, "DENIED"),
            (None, _) => registry_error(401, "UNAUTHORIZED").challenge(format!(
                "Basic realm=\"https://{}/\",service=\"ecr.amazonaws.com\"",
                asked.header("host").unwrap_or_default()
            )),
        }
    }
}

fn refused(code: &str, what: &str) -> Answer {
    let body = json!({
        "__type": format!("com.amazonaws.ecr#{code}"),
        "message": format!("not this one: {what}"),
    });
    Answer::new(400, "application/x-amz-json-1.1", body.to_string())
}

fn mac(key: &[u8], data: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes())
}

fn sha256(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
