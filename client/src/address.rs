//! Targets in, the addresses of replicas out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::codegen::http::Uri;

use crate::error::{ClientError, ReplicaError};
use crate::network::Network;
use crate::secure::Secure;

/// The most targets of one client.
pub const MAX_TARGETS: usize = 16;
/// How long the look-up of one name may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// `http://host:port`, or `https://host:port`.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) url: Uri,
    host: String,
    port: u16,
}

impl Target {
    /// Reads the targets of a configuration.
    pub(crate) fn read(
        targets: &[String],
        secure: Option<&Secure>,
    ) -> Result<Vec<Self>, ClientError> {
        if targets.is_empty() || targets.len() > MAX_TARGETS {
            return Err(ClientError::Targets(targets.len()));
        }
        targets
            .iter()
            .map(|text| {
                let target = Self::parse(text).ok_or_else(|| ClientError::Address(text.clone()))?;
                match (target.is_secure(), secure) {
                    (true, None) => Err(ClientError::NoAuthorities(text.clone())),
                    (false, Some(_)) => Err(ClientError::Plain(text.clone())),
                    (true, Some(secure)) if secure.name(&target.url).is_none() => {
                        Err(ClientError::ServerName(target.host))
                    }
                    _ => Ok(target),
                }
            })
            .collect()
    }

    fn is_secure(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    fn parse(target: &str) -> Option<Self> {
        let url: Uri = target.parse().ok()?;
        // What is no URL at all reads as a host.
        let usual = match url.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return None,
        };
        let host = url.host().filter(|host| !host.is_empty())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let (host, port) = (bare.to_owned(), url.port_u16().unwrap_or(usual));
        Some(Self { url, host, port })
    }

    /// The addresses of the target now.
    fn addresses(
        &self,
        network: &dyn Network,
    ) -> impl Future<Output = Result<Vec<SocketAddr>, ReplicaError>> + Send + use<> {
        let (host, port) = (self.host.clone(), self.port);
        let looked = match host.parse::<IpAddr>() {
            Ok(address) => Ok(SocketAddr::new(address, port)),
            Err(_) => Err(network.resolve(&host, port)),
        };
        async move {
            let found = match looked {
                Ok(address) => return Ok(vec![address]),
                Err(resolving) => timeout(LOOK_TIMEOUT, resolving).await,
            };
            let source = match found {
                Ok(Ok(found)) if !found.is_empty() => return Ok(found),
                Ok(Ok(_)) => io::Error::new(io::ErrorKind::NotFound, "it has no address"),
                Ok(Err(error)) => error,
                Err(_elapsed) => io::ErrorKind::TimedOut.into(),
            };
            Err(ReplicaError::Lookup { host, source })
        }
    }
}

/// What each target was found to be. One whose name cannot be looked up keeps the addresses that it had:
/// a name service that is away must not take the service away.
#[derive(Default)]
pub(crate) struct Known(BTreeMap<usize, Vec<SocketAddr>>);

impl Known {
    /// Looks all targets up at once, so that one of which nothing is heard takes no other with it; gives
    /// each address with the target that it is of, and the last failure.
    pub(crate) async fn look(
        &mut self,
        targets: &[Target],
        network: &dyn Network,
    ) -> (BTreeMap<SocketAddr, Uri>, Option<ReplicaError>) {
        let mut looks = JoinSet::new();
        for (index, target) in targets.iter().enumerate() {
            let addresses = target.addresses(network);
            looks.spawn(async move { (index, addresses.await) });
        }
        let (mut all, mut failure) = (BTreeMap::new(), None);
        while let Some(looked) = looks.join_next().await {
            match looked {
                Ok((index, Ok(found))) => _ = self.0.insert(index, found),
                Ok((_, Err(error))) => failure = Some(error),
                Err(error) => tracing::error!(%error, "a look-up ended without a result"),
            }
        }
        for (index, target) in targets.iter().enumerate() {
            let addresses = self.0.get(&index).into_iter().flatten();
            all.extend(addresses.map(|address| (*address, target.url.clone())));
        }
        (all, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Connecting, Resolving};

    #[track_caller]
    fn check(target: &str, expected: Option<(&str, u16)>) {
        let read = Target::parse(target);
        let read = read.as_ref().map(|target| (target.host.as_str(), target.port));
        assert_eq!(read, expected, "{target}");
    }

    #[test]
    fn targets_are_urls_of_http() {
        check("http://127.0.0.1:7443", Some(("127.0.0.1", 7443)));
        check("http://portcullis.ns.svc:7443/", Some(("portcullis.ns.svc", 7443)));
        check("http://[::1]:7443", Some(("::1", 7443)));
        check("http://portcullis", Some(("portcullis", 80)));
        check("https://portcullis:7443", Some(("portcullis", 7443)));
        check("https://portcullis", Some(("portcullis", 443)));
        check("ftp://portcullis", None);
        check("portcullis:7443", None);
        check("portcullis", None);
        check("http://", None);
        check("", None);
    }

    #[test]
    fn tls_is_not_asked_for_without_authorities() {
        let refused = Target::read(&["https://a".to_owned()], None).unwrap_err();
        assert!(matches!(&refused, ClientError::NoAuthorities(target) if target == "https://a"));
    }

    #[test]
    fn targets_are_refused_one_past_their_bound() {
        let targets = |count| vec!["http://a".to_owned(); count];
        assert_eq!(Target::read(&targets(MAX_TARGETS), None).unwrap().len(), MAX_TARGETS);
        for count in [0, MAX_TARGETS + 1] {
            let refused = Target::read(&targets(count), None).unwrap_err();
            assert!(matches!(refused, ClientError::Targets(n) if n == count), "{refused}");
        }
    }

    struct Names(parking_lot::Mutex<Vec<io::Result<Vec<SocketAddr>>>>);

    impl Network for Names {
        fn resolve(&self, _: &str, _: u16) -> Resolving {
            let next = self.0.lock().remove(0);
            Box::pin(async move { next })
        }

        fn connect(&self, _: SocketAddr) -> Connecting {
            Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_looked_up_keeps_its_addresses() {
        let address = |n: u8| SocketAddr::from(([10, 0, 0, n], 1));
        let gone = || Err(io::Error::other("no name service"));
        let names = Names(parking_lot::Mutex::new(vec![
            Ok(vec![address(1), address(2)]),
            gone(),
            Ok(Vec::new()),
            Ok(vec![address(3)]),
        ]));
        let targets = Target::read(&["http://name:1".to_owned()], None).unwrap();
        let mut known = Known::default();
        let expected = [vec![1, 2], vec![1, 2], vec![1, 2], vec![3]];
        for (turn, expected) in expected.into_iter().enumerate() {
            let (found, failure) = known.look(&targets, &names).await;
            let expected: Vec<_> = expected.into_iter().map(address).collect();
            assert_eq!(found.into_keys().collect::<Vec<_>>(), expected);
            assert_eq!(failure.is_some(), turn == 1 || turn == 2);
        }
    }

    /// A name service that says nothing of one name.
    struct Silent;

    impl Network for Silent {
        fn resolve(&self, host: &str, port: u16) -> Resolving {
            let found = (host == "told").then(|| SocketAddr::from(([10, 0, 0, 1], port)));
            Box::pin(async move {
                match found {
                    Some(address) => Ok(vec![address]),
                    None => std::future::pending().await,
                }
            })
        }

        fn connect(&self, _: SocketAddr) -> Connecting {
            Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_of_which_nothing_is_heard_takes_no_other_with_it() {
        let names = ["http://silent:1", "http://told:1", "http://10.0.0.2:1"];
        let targets = Target::read(&names.map(str::to_owned), None).unwrap();
        let (found, failure) = Known::default().look(&targets, &Silent).await;
        let expected = [1, 2].map(|n| SocketAddr::from(([10, 0, 0, n], 1)));
        assert_eq!(found.into_keys().collect::<Vec<_>>(), expected);
        assert!(failure.is_some());
    }
}
