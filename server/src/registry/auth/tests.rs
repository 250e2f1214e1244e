//! What tokens take of memory.

use super::*;
use crate::registry::config::Secret;

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
