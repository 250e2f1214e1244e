//! The way through a proxy, and what is checked on it.

use std::sync::Arc;

use reqwest::dns::{Name, Resolve, Resolving};
use tokio::net::TcpListener;

use super::faults::{Everywhere, assert_untouched};
use super::harness::*;
use crate::registry::*;

/// Finds nothing, and is not to be asked.
struct Nowhere;

impl Resolve for Nowhere {
    fn resolve(&self, name: Name) -> Resolving {
        panic!("{} was looked up", name.as_str());
    }
}

fn through(proxy: &str, except: &[&str], config: RegistryConfig) -> RegistryConfig {
    let except: Vec<_> = except.iter().map(|name| (*name).to_owned()).collect();
    let password = Secret::new("correct-horse".to_owned());
    let proxy = Proxy::new(&format!("http://{proxy}"), Some(("robot", &password)), &except);
    RegistryConfig { proxy: Some(proxy.unwrap()), ..config }
}

#[tokio::test]
async fn registries_are_asked_through_the_proxy_but_for_those_that_are_not() {
    let (proxy, direct) = (serve(|_| manifest()).await, serve(|_| manifest()).await);
    let mut config = config(&[&direct]);
    let plain = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
    config.hosts.insert("registry.example".to_owned(), plain);
    let config = through(&proxy.authority, &["127.0.0.0/8"], config);
    let resolver: Arc<dyn Resolve> = Arc::new(Nowhere);
    let registry = Registry::with_resolver(config, &resolver).unwrap();
    registry.resolve(&"registry.example/a:v1".parse().unwrap(), soon()).await.unwrap();
    registry.resolve(&direct.image("a:v1"), soon()).await.unwrap();
    let log = proxy.log().await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].line, "GET http://registry.example/v2/a/manifests/v1");
    assert_eq!(log[0].headers["proxy-authorization"], "Basic cm9ib3Q6Y29ycmVjdC1ob3JzZQ==");
    let log = direct.log().await;
    assert_eq!((log.len(), log[0].headers.get("proxy-authorization")), (1, None));
}

#[tokio::test]
async fn an_unlisted_registry_is_named_to_the_proxy_and_an_address_inside_is_not() {
    let proxy = serve_raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b"").await;
    let resolver: Arc<dyn Resolve> = Arc::new(Nowhere);
    let config = through(&proxy.authority, &[], config(&[]));
    let registry = Registry::with_resolver(config, &resolver).unwrap();
    let ask = async |image: &str| registry.resolve(&image.parse().unwrap(), soon()).await;
    for image in ["10.0.0.5:5000/a:v1", "169.254.169.254/a:v1", "[::1]/a:v1", "0x7f.1/a:v1"] {
        assert!(matches!(ask(image).await, Err(RegistryError::NotPublic(_))), "{image}");
    }
    assert_eq!(proxy.count().await, 0);
    assert!(matches!(ask("registry.example/a:v1").await, Err(RegistryError::Unreachable { .. })));
    let lines = proxy.lines().await;
    assert!(lines[0].starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"), "{lines:?}");
}

/// The proxy's name may have any address, which is for the proxy alone; what is asked directly may
/// not.
#[tokio::test]
async fn a_proxy_inside_opens_the_inside_to_nobody() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inside.local_addr().unwrap();
    let resolver: Arc<dyn Resolve> = Arc::new(Everywhere(address));
    let name = format!("proxy.example:{}", address.port());
    let config = through(&name, &["direct.example", "proxy.example"], config(&[]));
    let registry = Registry::with_resolver(config, &resolver).unwrap();
    for image in ["direct.example/a:v1", "proxy.example/a:v1", "proxy.example:5000/a:v1"] {
        let result = registry.resolve(&image.parse().unwrap(), soon()).await;
        assert!(matches!(result, Err(RegistryError::NotPublic(_))), "{image}: {result:?}");
    }
    assert_untouched(&inside).await;
    let soon = Instant::now() + std::time::Duration::from_secs(10);
    let image = "registry.example/a:v1".parse().unwrap();
    let (_, accepted) = tokio::join!(registry.resolve(&image, soon), async {
        drop(inside.accept().await.unwrap());
        drop(inside);
    });
    assert_eq!(accepted, ());
}

#[test]
fn a_proxy_is_a_host_and_nothing_else() {
    for url in ["http://proxy.example:3128", "https://proxy.example"] {
        assert!(Proxy::new(url, None, &[]).is_ok(), "{url}");
    }
    for url in [
        "",
        "proxy.example:3128",
        "socks5://proxy.example",
        "http://robot:secret@proxy.example",
        "http://proxy.example/path",
        "http://proxy.example?x",
    ] {
        assert!(matches!(Proxy::new(url, None, &[]), Err(RegistryConfigError::Proxy(_))), "{url}");
    }
}

#[test]
fn no_error_of_an_address_says_the_password_in_it() {
    let secret = || "http://robot:s3cr@t@host.example".to_owned();
    let errors = [
        Proxy::new(&secret(), None, &[]).err().unwrap(),
        RegistryConfigError::Authority(secret()),
        RegistryConfigError::Host(secret()),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("`…@host.example`") && !text.contains("s3cr"), "{text}");
    }
}
