//! Challenges and tokens as registries send them, and as attackers do.

use http::HeaderValue;

use super::*;

fn challenge(values: &[&'static str]) -> Result<Option<Challenge>, ()> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
    }
    Challenge::parse(&headers).map_err(|_| ())
}

fn bearer(realm: &str, service: Option<&str>) -> Result<Option<Challenge>, ()> {
    Ok(Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) }))
}

#[test]
fn a_challenge_is_read_in_every_spelling() {
    assert_eq!(
        challenge(&[r#"Bearer realm="https://a.io/t",service="r",scope="repository:x:pull""#]),
        bearer("https://a.io/t", Some("r"))
    );
    assert_eq!(challenge(&[r#"bEARER Realm="https://a.io/t""#]), bearer("https://a.io/t", None));
    assert_eq!(challenge(&["Basic realm=x"]), Ok(Some(Challenge::Basic)));
    assert_eq!(
        challenge(&["Basic realm=x", r#"Bearer realm="https://a.io/t""#]),
        bearer("https://a.io/t", None)
    );
    assert_eq!(challenge(&["Negotiate realm=x"]), Ok(None));
    assert_eq!(challenge(&[]), Ok(None));
}

#[test]
fn a_challenge_with_two_readings_is_refused() {
    assert_eq!(challenge(&[r#"Bearer realm="https://a.io/", realm="https://b.io/""#]), Err(()));
    assert_eq!(challenge(&[r#"Bearer realm="https://a.io/", REALM="https://b.io/""#]), Err(()));
    assert_eq!(challenge(&[r#"Bearer realm="https://a.io"#]), Err(()));
    assert_eq!(challenge(&["Bearer service=x"]), Err(()));
}

#[track_caller]
fn lives(answer: &str, seconds: u64) {
    let life = read_token(answer.as_bytes()).map(|token| token.life).unwrap();
    assert_eq!(life, Duration::from_secs(seconds) - SKEW);
}

#[test]
fn the_life_of_a_token_is_clamped() {
    lives(r#"{"token":"t"}"#, 60);
    lives(r#"{"token":"t","expires_in":null}"#, 60);
    lives(r#"{"token":"t","expires_in":-1}"#, 60);
    lives(r#"{"token":"t","expires_in":0}"#, 60);
    lives(r#"{"token":"t","expires_in":59}"#, 60);
    lives(r#"{"access_token":"t","expires_in":300}"#, 300);
    lives(r#"{"token":"","access_token":"t","expires_in":3600}"#, 3600);
    lives(r#"{"token":"t","expires_in":3601}"#, 3600);
    lives(r#"{"token":"t","expires_in":1000000000000}"#, 3600);
}

#[test]
fn what_is_not_a_token_is_refused() {
    for answer in [
        "",
        "<html></html>",
        "{}",
        r#"{"token":""}"#,
        r#"{"token":"a\nX-Injected: b"}"#,
        r#"{"token":"a b"}"#,
        r#"{"token":"\u0000"}"#,
        r#"{"token":"é"}"#,
        r#"{"token":"t","token":"u"}"#,
        r#"{"token":"t","expires_in":"soon"}"#,
    ] {
        assert!(read_token(answer.as_bytes()).is_err(), "{answer}");
    }
}

#[tokio::test]
async fn tokens_are_weighed() {
    let key = |n: u64| Key {
        registry: "reg.io".to_owned(),
        repository: format!("team/{n}"),
        actions: Actions::Pull,
        identity: Arc::from("anonymous"),
    };
    let longest = || {
        let value = Secret::new("t".repeat(MAX_TOKEN_ANSWER));
        Authorization::Bearer(Arc::new(Token { value, life: Duration::from_secs(60) }))
    };
    let credential =
        Credential::Basic { username: "u".to_owned(), password: Secret::new("p".to_owned()) };
    let basic = Authorization::Basic(Arc::new(credential));
    let one = u64::from(weight(&key(0), &longest()));
    let size = u64::try_from(MAX_TOKEN_ANSWER).unwrap();
    assert!(one > size && one < size + 1024, "{one}");
    assert!(u64::from(weight(&key(0), &basic)) < 1024);

    let tokens = Tokens::new();
    for n in 0..=MAX_TOKENS / one {
        tokens.kept.insert(key(n), longest()).await;
    }
    tokens.kept.run_pending_tasks().await;
    assert!(tokens.kept.weighted_size() <= MAX_TOKENS);
    assert_eq!(tokens.kept.entry_count(), MAX_TOKENS / one);
}
