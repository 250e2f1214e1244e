//! Names and passwords in, tokens out that a registry of the distribution project believes.
//!
//! Requests and tokens are those of its "Token Authentication Specification" and "Token
//! Authentication Implementation": a JWT by ES256 whose header holds the chain of the key, for a
//! registry that has the root in its `rootcertbundle`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Answer, Asked, Service};
use crate::TestkitError;
use crate::envelope;
use crate::keys::{Authority, Issued, KeyKind};

/// For how long a token is good, in seconds.
const LIFE: i64 = 3600;

/// A token server and the one user that it knows.
#[derive(Debug)]
pub struct TokenServer {
    /// Where it is.
    pub service: Service,
    root_pem: String,
    maker: Arc<Maker>,
}

/// Who makes the tokens, and for whom.
#[derive(Debug)]
struct Maker {
    issuer: String,
    registry: String,
    username: String,
    password: String,
    signer: Issued,
    now: OffsetDateTime,
    made: AtomicU64,
}

impl TokenServer {
    /// Starts one that calls itself `issuer` and makes tokens for the service `registry`, good from
    /// `now` on for an hour. Its user may do all that he asks for.
    ///
    /// # Errors
    /// When no loopback port can be had, or no key can be made.
    pub async fn start(
        issuer: &str,
        registry: &str,
        (username, password): (&str, &str),
        now: OffsetDateTime,
    ) -> Result<Self, TestkitError> {
        let authority = Authority::new(issuer, now)?;
        let maker = Arc::new(Maker {
            issuer: issuer.to_owned(),
            registry: registry.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
            signer: authority.issue("tokens")?,
            now,
            made: AtomicU64::new(0),
        });
        let shared = Arc::clone(&maker);
        let service = Service::start(move |asked| shared.answer(asked)).await?;
        Ok(Self { service, root_pem: authority.root_pem(), maker })
    }

    /// `localhost:port`: there are clients that ask no realm at an address of a private network, unless it
    /// has a name.
    #[must_use]
    pub fn host(&self) -> String {
        self.service.authority().replace("127.0.0.1", "localhost")
    }

    /// Where tokens are asked for: the `realm` of the registry.
    #[must_use]
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.host())
    }

    /// The root of the key that signs tokens, PEM: the `rootcertbundle` of the registry.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A token for `scopes`, each `repository:<name>:<actions>`, that nobody has asked for.
    ///
    /// # Errors
    /// When a scope is malformed, or the token cannot be signed.
    pub fn token(&self, scopes: &[&str]) -> Result<String, TestkitError> {
        self.maker.token(scopes)
    }
}

impl Maker {
    fn answer(&self, asked: &Asked) -> Answer {
        if !asked.is("GET", "/token") {
            return Answer::json(404, &json!({"details": "no such page"}));
        }
        if asked.basic() != Some((self.username.clone(), self.password.clone())) {
            let refused = Answer::json(401, &json!({"details": "incorrect username or password"}));
            return refused.challenge(format!("Basic realm=\"{}\"", self.issuer));
        }
        let fields: Vec<_> = url::form_urlencoded::parse(asked.query.as_bytes()).collect();
        let named = |name: &str| {
            let fields = fields.iter().filter(move |(key, _)| key == name);
            fields.map(|(_, value)| value.as_ref()).collect::<Vec<_>>()
        };
        if named("service") != [self.registry.as_str()] {
            return Answer::json(400, &json!({"details": "no such service"}));
        }
        let scopes: Vec<_> = named("scope").iter().flat_map(|scope| scope.split(' ')).collect();
        match self.token(&scopes) {
            Ok(token) => Answer::json(200, &json!({"token": token, "expires_in": LIFE})),
            Err(_) => Answer::json(400, &json!({"details": "malformed scope"})),
        }
    }

    fn token(&self, scopes: &[&str]) -> Result<String, TestkitError> {
        let access = scopes.iter().map(|scope| access(scope)).collect::<Option<Vec<_>>>();
        let access = access.ok_or(TestkitError::Parse)?;
        let now = self.now.unix_timestamp();
        let nth = self.made.fetch_add(1, Ordering::Relaxed);
        let chain: Vec<_> =
            self.signer.chain.iter().map(|der| BASE64_STANDARD.encode(der)).collect();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": chain});
        let claims = json!({
            "iss": self.issuer,
            "sub": self.username,
            "aud": self.registry,
            "exp": now + LIFE,
            "nbf": now,
            "iat": now,
            "jti": nth.to_string(),
            "access": access,
        });
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let key = rcgen::KeyPair::from_pem(&self.signer.key_pem)?.serialize_der();
        let signature = envelope::sign(&key, KeyKind::P256, signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// What a scope asks for, as a token grants it.
fn access(scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<_> = actions.split(',').collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}
