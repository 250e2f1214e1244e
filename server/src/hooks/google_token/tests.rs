use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use portcullis_testkit::clock::TestClock;
use portcullis_testkit::cloud::{Answer, Fault, Service};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::registry::RegistryConfig;

const NOW: i64 = 1_790_000_000;
const AUDIENCE: &str = "https://portcullis.example/v1/events/gar";
const EMAIL: &str = "push@project.iam.gserviceaccount.com";

type Listed = Vec<(String, Arc<RsaKeyPair>)>;

/// Google: its keys, and who has them.
struct Google {
    service: Service,
    listed: Arc<Mutex<Listed>>,
    verifier: GoogleToken,
}

fn key() -> Arc<RsaKeyPair> {
    Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

impl Google {
    async fn new(keys: &[(&str, &Arc<RsaKeyPair>)]) -> Self {
        let listed: Vec<_> =
            keys.iter().map(|(id, key)| ((*id).to_owned(), Arc::clone(key))).collect();
        let listed = Arc::new(Mutex::new(listed));
        let shown = Arc::clone(&listed);
        let service = Service::start(move |_| {
            let keys: Vec<_> = shown.lock().iter().map(|(id, key)| jwk(id, key)).collect();
            Answer::new(200, "application/json", json!({"keys": keys}).to_string())
        })
        .await
        .unwrap();
        let hosts = [service.authority()].into();
        let downloads = Downloads::new(&RegistryConfig::default(), &hosts).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
        let verifier = GoogleToken {
            audience: AUDIENCE.to_owned(),
            email: EMAIL.to_owned(),
            keys: Keys::new(service.origin(), downloads),
            clock: Arc::new(TestClock::new(now)),
        };
        Self { service, listed, verifier }
    }
}

fn jwk(id: &str, key: &RsaKeyPair) -> Value {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let public = key.public_key();
    json!({
        "kty": "RSA", "alg": "RS256", "use": "sig", "kid": id,
        "n": encode(public.modulus().big_endian_without_leading_zero()),
        "e": encode(public.exponent().big_endian_without_leading_zero()),
    })
}

fn claims() -> Value {
    json!({
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "email": EMAIL, "email_verified": true,
        "iat": NOW - 10, "exp": NOW + 3600, "sub": "1",
    })
}

fn token(header: &Value, claims: &Value, key: &RsaKeyPair) -> String {
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn header(id: &str) -> Value {
    json!({"alg": "RS256", "typ": "JWT", "kid": id})
}

#[tokio::test]
async fn a_token_of_google_for_us_is_taken_and_its_keys_are_asked_for_once() {
    let key = key();
    let google = Google::new(&[("k1", &key)]).await;
    for _ in 0..3 {
        google.verifier.verify(&token(&header("k1"), &claims(), &key)).await.unwrap();
    }
    assert_eq!(google.service.asked().len(), 1);
}

#[tokio::test]
async fn a_sender_that_goes_away_does_not_take_the_keys_with_it() {
    let key = key();
    let google = Google::new(&[("k1", &key)]).await;
    let token = token(&header("k1"), &claims(), &key);
    // It is asked once, and then no more.
    assert!(google.verifier.verify(&token).now_or_never().is_none());
    google.verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn every_claim_is_looked_at() {
    let key = key();
    let google = Google::new(&[("k1", &key)]).await;
    for (name, value) in [
        ("iss", json!("https://accounts.google.com.evil.io")),
        ("aud", json!("https://other.example")),
        ("email", json!("other@project.iam.gserviceaccount.com")),
        ("email_verified", json!(false)),
        ("exp", json!(NOW - SKEW)),
        ("iat", json!(NOW + SKEW + 1)),
        ("nbf", json!(NOW + SKEW + 1)),
    ] {
        let mut wrong = claims();
        wrong[name] = value;
        let refused = google.verifier.verify(&token(&header("k1"), &wrong, &key)).await;
        assert!(
            matches!(refused, Err(TokenError::Claim(_) | TokenError::Time)),
            "{name}: {refused:?}"
        );
        let mut without = claims();
        without.as_object_mut().unwrap().remove(name);
        let refused = google.verifier.verify(&token(&header("k1"), &without, &key)).await;
        assert_eq!(refused.is_ok(), name == "nbf", "{name}");
    }
}

#[tokio::test]
async fn another_key_or_algorithm_or_signature_is_refused() {
    let (key, other) = (key(), key());
    let google = Google::new(&[("k1", &key)]).await;
    let verify = async |token: &str| google.verifier.verify(token).await;
    let good = token(&header("k1"), &claims(), &key);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    assert!(matches!(
        verify(&token(&header("k1"), &claims(), &other)).await,
        Err(TokenError::Signature)
    ));
    assert!(matches!(
        verify(&token(&header("k2"), &claims(), &key)).await,
        Err(TokenError::UnknownKey)
    ));
    for alg in ["none", "HS256", "RS512", "rs256"] {
        let header = json!({"alg": alg, "kid": "k1"});
        let refused = verify(&token(&header, &claims(), &key)).await;
        assert!(matches!(refused, Err(TokenError::Algorithm)), "{alg}");
    }
    let critical = json!({"alg": "RS256", "kid": "k1", "crit": ["x"]});
    assert!(matches!(verify(&token(&critical, &claims(), &key)).await, Err(TokenError::Algorithm)));
    for text in [
        String::new(),
        signed.to_owned(),
        format!("{signed}."),
        format!("{signed}.{}", signature.get(1..).unwrap()),
        format!("{good}.x"),
        "x".repeat(MAX_TOKEN + 1),
    ] {
        assert!(verify(&text).await.is_err(), "{text}");
    }
    verify(&good).await.unwrap();
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_denial_and_not_asked_for_again_at_once() {
    let key = key();
    let google = Google::new(&[("k1", &key)]).await;
    let good = token(&header("k1"), &claims(), &key);
    google.service.fault(Fault::Status(500));
    for _ in 0..3 {
        assert!(matches!(google.verifier.verify(&good).await, Err(TokenError::Keys(_))));
    }
    assert_eq!(google.service.asked().len(), 1);
}

#[tokio::test]
async fn documents_of_keys_have_bounds() {
    let key = key();
    for (count, is_read) in [(MAX_KEYS, true), (MAX_KEYS + 1, false)] {
        let google = Google::new(&[]).await;
        let keys = (1..=count).map(|n| (format!("k{n}"), Arc::clone(&key))).collect();
        *google.listed.lock() = keys;
        let verified = google.verifier.verify(&token(&header("k1"), &claims(), &key)).await;
        assert_eq!(verified.is_ok(), is_read, "{count}");
    }
    let google = Google::new(&[("k1", &key)]).await;
    google.service.fault(Fault::Huge(MAX_KEYS_BYTES));
    let refused = google.verifier.verify(&token(&header("k1"), &claims(), &key)).await;
    assert!(matches!(refused, Err(TokenError::Keys(Some(KeysError::Download(_))))), "{refused:?}");
}
