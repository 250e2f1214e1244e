//! Who may ask: basic credentials, tokens, and how either is refused.

use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};

use super::*;

const MANIFEST: &str = "/v2/demo/app/manifests/v1";

fn credentials() -> Credentials {
    Credentials { username: "robot".to_owned(), password: "canary-secret".to_owned() }
}

impl World {
    async fn pull_with(&self, authorization: &str) -> reqwest::Response {
        let request = self.ask(Method::GET, MANIFEST).header(AUTHORIZATION, authorization);
        request.send().await.unwrap()
    }

    async fn token(&self, scope: &str) -> String {
        let host = self.registry.host();
        let path = format!("/token?service={host}&scope={scope}");
        let request = self.ask(Method::GET, &path).basic_auth("robot", Some("canary-secret"));
        let answer = request.send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["token"], answer["access_token"]);
        format!("Bearer {}", answer["token"].as_str().unwrap())
    }
}

#[tokio::test]
async fn basic_credentials_are_asked_for_and_checked() {
    let world = world().await;
    world.image();
    world.registry.set_auth(Auth::Basic(credentials()));
    let refused = world.get(MANIFEST).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = format!("Basic realm=\"{}\"", world.registry.host());
    assert_eq!(header(&refused, WWW_AUTHENTICATE.as_str()), Some(&*challenge));
    assert_eq!(world.pull_with("Basic eDp5").await.status(), StatusCode::UNAUTHORIZED);
    let good = world.ask(Method::GET, MANIFEST).basic_auth("robot", Some("canary-secret"));
    assert_eq!(good.send().await.unwrap().status(), StatusCode::OK);
    world.registry.set_refusal(Refusal::Forbidden);
    assert_eq!(world.pull_with("Basic eDp5").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(world.get(MANIFEST).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_is_good_for_its_scope_until_it_expires() {
    let world = world().await;
    world.image();
    world.registry.set_auth(Auth::Bearer(credentials()));
    let host = world.registry.host().to_owned();
    let refused = world.get(MANIFEST).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = format!(
        "Bearer realm=\"http://{host}/token\",service=\"{host}\",scope=\"repository:demo/app:pull\""
    );
    assert_eq!(header(&refused, WWW_AUTHENTICATE.as_str()), Some(&*challenge));

    let token = world.token("repository:demo/app:pull").await;
    assert_eq!(world.pull_with(&token).await.status(), StatusCode::OK);
    let push = world.ask(Method::POST, "/v2/demo/app/blobs/uploads/");
    let push = push.header(AUTHORIZATION, &token).send().await.unwrap();
    assert_eq!(push.status(), StatusCode::UNAUTHORIZED);
    assert!(header(&push, WWW_AUTHENTICATE.as_str()).unwrap().contains("insufficient_scope"));
    let other = world.token("repository:demo/other:pull,push").await;
    assert_eq!(world.pull_with(&other).await.status(), StatusCode::UNAUTHORIZED);

    world.registry.expire_tokens();
    let expired = world.pull_with(&token).await;
    assert_eq!(expired.status(), StatusCode::UNAUTHORIZED);
    assert!(header(&expired, WWW_AUTHENTICATE.as_str()).unwrap().contains("invalid_token"));
    world.registry.set_refusal(Refusal::Forbidden);
    let expired = world.pull_with(&token).await;
    assert_eq!(expired.status(), StatusCode::FORBIDDEN);
    assert_eq!(header(&expired, WWW_AUTHENTICATE.as_str()), None);
    let token = world.token("repository:demo/app:pull,push").await;
    assert_eq!(world.pull_with(&token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_is_given_only_for_what_is_asked_rightly() {
    let world = world().await;
    world.registry.set_auth(Auth::Bearer(credentials()));
    let host = world.registry.host().to_owned();
    for (query, authorization, status) in [
        (format!("service={host}&scope=repository:a:pull"), None, 401),
        (format!("service={host}&scope=repository:a:pull"), Some("Basic eDp5"), 401),
        ("scope=repository:a:pull".to_owned(), Some("good"), 400),
        ("service=other&scope=repository:a:pull".to_owned(), Some("good"), 400),
        (format!("service={host}&scope=registry:a:pull"), Some("good"), 400),
        (format!("service={host}"), Some("good"), 200),
    ] {
        let mut request = world.ask(Method::GET, &format!("/token?{query}"));
        request = match authorization {
            Some("good") => request.basic_auth("robot", Some("canary-secret")),
            Some(other) => request.header(AUTHORIZATION, other),
            None => request,
        };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{query} {authorization:?}");
    }
}

#[tokio::test]
async fn everybody_may_have_a_token_to_pull_only() {
    let world = world().await;
    world.image();
    world.registry.set_auth(Auth::AnonymousBearer);
    let token = world.token("repository:demo/app:pull,push").await;
    assert_eq!(world.pull_with(&token).await.status(), StatusCode::OK);
    let push = world.ask(Method::POST, "/v2/demo/app/blobs/uploads/");
    let push = push.header(AUTHORIZATION, &token).send().await.unwrap();
    assert_eq!(push.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_challenge_uses_up_no_fault() {
    let world = world().await;
    world.image();
    world.registry.set_auth(Auth::Basic(credentials()));
    world.registry.fault_times(Route::Manifest, 1, Fault::Html);
    assert_eq!(world.get(MANIFEST).await.status(), StatusCode::UNAUTHORIZED);
    let good = world.ask(Method::GET, MANIFEST).basic_auth("robot", Some("canary-secret"));
    let good = good.send().await.unwrap();
    assert_eq!(header(&good, "content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn tokens_end_one_past_their_bound() {
    let mut access = auth::Access::default();
    access.set(Auth::AnonymousBearer);
    let call = route::Call::Manifest { repository: "a", reference: "v1" };
    let give = |access: &mut auth::Access| {
        let query = "service=host&scope=repository:a:pull";
        let answer = access.token("host", query, &http::HeaderMap::new());
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let bearer = format!("Bearer {}", answer["token"].as_str().unwrap());
        http::HeaderMap::from_iter([(AUTHORIZATION, bearer.parse().unwrap())])
    };
    let is_good = |access: &auth::Access, headers: &http::HeaderMap| {
        access.challenge("host", &Method::GET, call, headers).is_none()
    };
    let first = give(&mut access);
    for _ in 1..auth::MAX_TOKENS {
        give(&mut access);
    }
    assert!(is_good(&access, &first));
    let last = give(&mut access);
    assert!(!is_good(&access, &first));
    assert!(is_good(&access, &last));
}

#[test]
fn a_password_is_not_printed() {
    assert!(!format!("{:?}", Auth::Basic(credentials())).contains("canary"));
}
