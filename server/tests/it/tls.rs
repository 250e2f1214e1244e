//! The service over TLS: who is let in, for whom they speak, and files that change beneath it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_client::{
    Client, ClientError, Config as Asking, EncodedReports, TlsConfig as Trusting,
};
use portcullis_proto::v1;
use portcullis_server::app::App;
use portcullis_server::identity::{Identities, Place, Role};
use portcullis_server::tls::{Demand, PairFiles, Strangers, TlsConfig};
use portcullis_testkit::keys::{Authority, Issued};
use prost::Message as _;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::reported::answered;
use crate::world::*;

/// Clients ask the system for the time.
pub(crate) const LONG: (OffsetDateTime, OffsetDateTime) =
    (datetime!(2020-01-01 0:00 UTC), datetime!(2120-01-01 0:00 UTC));
const PROD: &str = "spiffe://it/prod";
const READER: &str = "reader.example";
const WRITER: &str = "spiffe://it/writer";

/// A service that listens in TLS.
struct Secure {
    site: Site,
    app: App,
}

impl Secure {
    /// [`PROD`] is the cluster `prod`, and the others are what they are called.
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Site)) -> Self {
        let mut site = Site::new().await;
        let server = tls(&site.authority, "127.0.0.1");
        let pair = put(&site, "server", &server);
        put_file(&site, "ca.crt", &site.authority.root_pem());
        let place =
            Place { cluster: "prod".to_owned(), account: "shop".to_owned(), ..Place::default() };
        let roles = [(PROD, Role::Cluster(place)), (READER, Role::Reader), (WRITER, Role::Writer)];
        let identities = roles.map(|(name, role)| (vec![name.parse().unwrap()], role));
        site.config.tls = Some(TlsConfig {
            clients: Some(Demand {
                authorities: site.path("ca.crt"),
                revoked: Vec::new(),
                strangers: Strangers::Refused,
            }),
            identities: Identities::new(identities).unwrap(),
            interval: Duration::from_millis(10),
            ..TlsConfig::new(pair)
        });
        change(&mut site);
        let app = App::start(site.config.clone(), site.clock.clone()).await.unwrap();
        Self { site, app }
    }

    fn target(&self) -> String {
        format!("https://127.0.0.1:{}", self.app.address().port())
    }

    /// How somebody asks who trusts `authority` and has the pair.
    fn asking(&self, authority: &Authority, pair: Option<PairFiles>) -> Asking {
        let trusted = unique("trusted");
        put_file(&self.site, &trusted, &authority.root_pem());
        let tls = Trusting { authorities: self.site.path(&trusted), pair, server_name: None };
        let timeout = Duration::from_secs(20);
        Asking { tls: Some(tls), timeout, ..Asking::new([self.target()]) }
    }

    /// Somebody with a good certificate for `name`.
    async fn client(&self, name: &str) -> Result<Client, ClientError> {
        let pair = put(&self.site, &unique("asks"), &tls(&self.site.authority, name));
        Client::reach(&self.asking(&self.site.authority, Some(pair))).await
    }

    async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.app.admin_address());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until the metric has this value.
    async fn until(&self, name: &str, value: f64) {
        eventually(name, async || (self.metric(name).await == value).then_some(())).await;
    }
}

/// A name for a file that no other has: clients look at theirs for as long as they live.
fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn tls(authority: &Authority, name: &str) -> Issued {
    authority.tls_valid(&[name], LONG).unwrap()
}

pub(crate) fn put_file(site: &Site, name: &str, text: &str) {
    fs::write(site.path("draft"), text).unwrap();
    fs::rename(site.path("draft"), site.path(name)).unwrap();
}

pub(crate) fn put(site: &Site, name: &str, pair: &Issued) -> PairFiles {
    let files: [PathBuf; 2] = ["crt", "key"].map(|end| site.path(&format!("{name}.{end}")));
    put_file(site, &format!("{name}.key"), &pair.key_pem);
    put_file(site, &format!("{name}.crt"), &pair.chain_pem);
    let [certificate, key] = files;
    PairFiles { certificate, key }
}

/// All that an error says.
fn chain(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text += &format!(": {source}");
        next = source.source();
    }
    text
}

fn in_cluster(image: &str, cluster: &str) -> v1::CheckRequest {
    let context = v1::Context { cluster: cluster.to_owned(), ..v1::Context::default() };
    v1::CheckRequest { context: Some(context), ..question(image) }
}

#[track_caller]
fn refusal(error: &ClientError) -> (Code, String, String) {
    let ClientError::NoAnswer(status) = error else { panic!("{}", chain(error)) };
    let reason = status.get_details_error_info().unwrap().reason;
    (status.code(), reason, status.message().to_owned())
}

#[tokio::test]
async fn a_cluster_speaks_for_itself_and_its_events_name_it() {
    let secure = Secure::with(|site| site.config.events = Some(site.path("events.jsonl"))).await;
    let image = secure.site.scanned("app", &clean()).name;
    let client = secure.client(PROD).await.unwrap();
    for cluster in ["", "prod"] {
        let answer = client.check(in_cluster(&image, cluster)).await.unwrap();
        assert_eq!(answer.action(), Action::Allow);
    }
    let refused = client.check(in_cluster(&image, "test")).await.unwrap_err();
    let (code, reason, message) = refusal(&refused);
    assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "ANOTHER_CLUSTER"));
    assert!(message.contains("`context.cluster` is `test`"), "{message}");
    let bulk = v1::BulkCheckRequest {
        context: in_cluster(&image, "test").context,
        images: vec![v1::BulkImages {
            repository: image.split_once(":v1").unwrap().0.to_owned(),
            digests: vec![7; 32],
        }],
        ..v1::BulkCheckRequest::default()
    };
    let refused = client.bulk_check(bulk).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "ANOTHER_CLUSTER");
    // What it answered by itself it says of itself alone.
    let told = |cluster: &str| {
        let mut answered = answered(1, v1::AnsweredBy::NearCache, &image);
        answered.context.as_mut().unwrap().cluster = cluster.to_owned();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let client = client.clone();
        let answered = vec![answered.encode_to_vec().into()];
        let reports = EncodedReports { run: vec![7; 16].into(), dropped: 0, answered };
        async move { client.report(&reports, deadline).await }
    };
    let refused = told("test").await.unwrap_err();
    assert_eq!(refusal(&refused).1, "ANOTHER_CLUSTER");
    told("").await.unwrap();
    let Secure { site, app } = secure;
    drop(client);
    app.stop().await;
    let events = lines(&site.path("events.jsonl"));
    assert_eq!(events.len(), 3);
    for event in events {
        assert_eq!(
            (&event["cluster"], &event["account"]),
            (&"prod".into(), &"shop".into()),
            "{event}"
        );
    }
}

#[tokio::test]
async fn operators_may_what_their_role_says() {
    let secure = Secure::new().await;
    let image = secure.site.scanned("app", &clean()).name;
    let get = || v1::GetEvidenceRequest { image: image.clone(), platforms: Vec::new() };
    let refresh = || v1::RefreshRequest { image: image.clone(), platforms: Vec::new() };
    let denied = |error: ClientError, word: &str| {
        let (code, reason, message) = refusal(&error);
        assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "ROLE_MISSING"));
        assert!(message.contains(word), "{message}");
    };
    let cluster = secure.client(PROD).await.unwrap();
    denied(cluster.evidence(get()).await.unwrap_err(), "takes that of an operator");
    denied(cluster.refresh(refresh()).await.unwrap_err(), "takes that of an operator");
    let reader = secure.client(READER).await.unwrap();
    reader.evidence(get()).await.unwrap();
    denied(reader.refresh(refresh()).await.unwrap_err(), "`role: writer`");
    denied(reader.check(question(&image)).await.unwrap_err(), "speaks for no cluster");
    let writer = secure.client(WRITER).await.unwrap();
    writer.evidence(get()).await.unwrap();
    writer.refresh(refresh()).await.unwrap();
    writer.check(in_cluster(&image, "test")).await.unwrap();
}

#[tokio::test]
async fn who_is_not_known_hears_who_they_are_and_what_helps() {
    let secure = Secure::new().await;
    let error = secure.client("spiffe://it/nobody").await.unwrap_err();
    let text = chain(&error);
    assert!(text.contains("called `spiffe://it/nobody`"), "{text}");
    assert!(text.contains("add the name to `identities`"), "{text}");
}

#[tokio::test]
async fn who_has_no_good_certificate_is_told_what_helps() {
    let secure = Secure::new().await;
    let own = &secure.site.authority;
    let other = Authority::new("another", NOW).unwrap();
    let refused = async |asking: Asking, word: &str, outcome: &str| {
        let text = chain(&Client::reach(&asking).await.unwrap_err());
        assert!(text.contains(word), "{text}");
        if !outcome.is_empty() {
            let metric = format!(
                "portcullis_tls_handshakes_total{{listener=\"grpc\",outcome=\"{outcome}\"}}"
            );
            let look = async || (secure.metric(&metric).await >= 1.0).then_some(());
            eventually(&metric, look).await;
        }
    };
    refused(secure.asking(own, None), "`--tls-cert`", "no_certificate").await;
    let foreign = put(&secure.site, "foreign", &tls(&other, PROD));
    refused(secure.asking(own, Some(foreign)), "`tls.clientCaFile` there", "untrusted").await;
    let past = own.tls_valid(&[PROD], (LONG.0, NOW - time::Duration::SECOND)).unwrap();
    let past = put(&secure.site, "past", &past);
    refused(secure.asking(own, Some(past)), "our certificate has expired", "expired").await;
    let good = || put(&secure.site, "good", &tls(own, PROD));
    refused(secure.asking(&other, Some(good())), "(`--tls-ca`)", "").await;
    let mut named = secure.asking(own, Some(good()));
    named.tls.as_mut().unwrap().server_name = Some("elsewhere.example".to_owned());
    refused(named, "`--tls-server-name`", "").await;
    // In plain text nothing is answered, and what helps is not hidden.
    let plain = Asking::new([secure.target().replace("https", "http")]);
    Client::reach(&plain).await.unwrap_err();
    let world = World::new().await;
    let target = [format!("https://127.0.0.1:{}", world.app.address().port())];
    let wrong = Asking { targets: target.into(), ..secure.asking(own, Some(good())) };
    refused(wrong, "does not speak TLS, or closed the connection", "").await;
}

#[tokio::test]
async fn t151_no_question_is_lost_while_certificates_change_and_new_ones_are_used() {
    let secure = Secure::new().await;
    let image = secure.site.scanned("app", &clean()).name;
    let client = secure.client(PROD).await.unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let asks = {
        let (client, image) = (client.clone(), image.clone());
        tokio::spawn(async move {
            let mut count = 0;
            while stopped.try_recv().is_err() {
                client.check(question(&image)).await.unwrap();
                count += 1;
            }
            count
        })
    };
    let reloads = |outcome: &str| {
        format!("portcullis_reloads_total{{what=\"certificate\",outcome=\"{outcome}\"}}")
    };
    for turn in 1..=3 {
        // Of an authority of its own: whoever is reached by who trusts it alone shows the new one.
        let next = Authority::new(&"x".repeat(turn), NOW).unwrap();
        let pair = put(&secure.site, &unique("asks"), &tls(&secure.site.authority, PROD));
        let asking = secure.asking(&next, Some(pair));
        Client::reach(&asking).await.unwrap_err();
        let new = tls(&next, "127.0.0.1");
        put_file(&secure.site, "server.key", &new.key_pem);
        secure.until(&reloads("failed"), f64::from(u32::try_from(turn).unwrap())).await;
        put_file(&secure.site, "server.crt", &new.chain_pem);
        secure.until(&reloads("ok"), f64::from(u32::try_from(turn).unwrap())).await;
        let other = Client::reach(&asking).await.unwrap();
        other.check(question(&image)).await.unwrap();
    }
    client.check(question(&image)).await.unwrap();
    stop.send(()).unwrap();
    assert!(asks.await.unwrap() > 0);
}

#[tokio::test]
async fn t153_an_expired_certificate_is_seen_and_costs_no_connection_that_is_there() {
    let secure = Secure::new().await;
    let image = secure.site.scanned("app", &clean()).name;
    let client = secure.client(PROD).await.unwrap();
    let remaining = "portcullis_tls_certificate_remaining_seconds{listener=\"grpc\"}";
    let left = |now: OffsetDateTime| (LONG.1 - now).as_seconds_f64();
    secure.until(remaining, left(NOW)).await;
    let after = LONG.1 + time::Duration::DAY;
    secure.site.clock.set(after);
    secure.until(remaining, left(after)).await;
    client.check(question(&image)).await.unwrap();
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_client() {
    let secure = Secure::new().await;
    let image = secure.site.scanned("app", &clean()).name;
    let soon = NOW + time::Duration::SECOND;
    let short = secure.site.authority.tls_valid(&[PROD], (LONG.0, soon)).unwrap();
    let pair = put(&secure.site, "asks", &short);
    let asking = secure.asking(&secure.site.authority, Some(pair));
    let client = Client::reach(&asking).await.unwrap();
    client.check(question(&image)).await.unwrap();
    secure.site.clock.set(soon + time::Duration::SECOND);
    // It is told to go, comes again, and is refused.
    eventually("a refusal", async || client.check(question(&image)).await.err()).await;
    eventually("the reason", async || {
        let expired = "portcullis_tls_handshakes_total{listener=\"grpc\",outcome=\"expired\"}";
        (secure.metric(expired).await >= 1.0).then_some(())
    })
    .await;
}

/// A client that says nothing, from another address of this machine.
async fn silent(secure: &Secure) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    socket.connect(secure.app.address()).await.unwrap()
}

/// The first byte of a handshake, and no more.
#[cfg(test)]
async fn begun(secure: &Secure) -> TcpStream {
    let mut stream = silent(secure).await;
    stream.write_all(&[0x16]).await.unwrap();
    stream
}

#[tokio::test]
async fn who_never_ends_a_handshake_holds_up_nobody_and_has_a_bound() {
    let secure = Secure::new().await;
    let image = secure.site.scanned("app", &clean()).name;
    let mut waiting = Vec::new();
    // Who says nothing takes no turn.
    let _silent = silent(&secure).await;
    for _ in 0..128 {
        waiting.push(begun(&secure).await);
    }
    secure.until("portcullis_connections{listener=\"handshake\"}", 128.0).await;
    let mut more = begun(&secure).await;
    assert_eq!(more.read(&mut [0]).await.unwrap_or(0), 0);
    let refused = "portcullis_connections_refused_total{listener=\"handshake\",reason=\"peer\"}";
    assert_eq!(secure.metric(refused).await, 1.0);
    secure.client(PROD).await.unwrap().check(question(&image)).await.unwrap();
    // They are closed, and their places are free.
    let mut first = waiting.remove(0);
    assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0);
    secure.until("portcullis_connections{listener=\"handshake\"}", 0.0).await;
    assert_eq!(
        secure.metric("portcullis_tls_handshakes_total{listener=\"grpc\",outcome=\"late\"}").await,
        129.0
    );
}
