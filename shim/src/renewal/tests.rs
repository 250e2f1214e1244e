//! Replicas and an API server in memory, by a clock that is set.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use time::macros::datetime;

use super::api::Found;
use super::*;
use crate::config::TlsConfig;

mod missed;
mod troubles;

const NOW: OffsetDateTime = datetime!(2026-11-28 12:00 UTC);
const NAME: &str = "gate-shim.portcullis.svc";

/// What is done to a cluster at some moment.
type Then = Box<dyn FnOnce(&Cluster) + Send>;

/// An API server's objects, of which every change has a version.
#[derive(Default)]
struct Cluster {
    objects: Mutex<BTreeMap<Object, Value>>,
    version: AtomicUsize,
    /// What is done just before an object is written, once.
    before_put: Mutex<Option<Then>>,
    /// What may not be written, and what may not be read.
    forbidden: Mutex<BTreeSet<Object>>,
    hidden: Mutex<BTreeSet<Object>>,
    is_away: Mutex<bool>,
    /// With which somebody else is always quicker.
    fought_over: Mutex<BTreeSet<Object>>,
    /// By how much its clock is off, in seconds.
    off: AtomicI64,
    clock: Arc<AtomicI64>,
}

fn secret() -> Object {
    Object::Secret { namespace: "portcullis".to_owned(), name: "own".to_owned() }
}

fn hooks() -> Object {
    Object::Validating("gate".to_owned())
}

fn pins() -> Object {
    Object::Mutating("gate".to_owned())
}

impl Cluster {
    fn new() -> Arc<Self> {
        let cluster =
            Self { clock: Arc::new(AtomicI64::new(NOW.unix_timestamp())), ..Self::default() };
        // As the chart makes them.
        cluster.set(secret(), json!({"type": "Opaque", "metadata": {"labels": {"a": "b"}}}));
        let hook = |name: &str| json!({"name": name, "clientConfig": {"service": {}}});
        cluster
            .set(hooks(), json!({"metadata": {}, "webhooks": [hook("pods"), hook("workloads")]}));
        cluster.set(pins(), json!({"metadata": {}, "webhooks": [hook("pins")]}));
        Arc::new(cluster)
    }

    fn set(&self, object: Object, mut value: Value) {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        value["metadata"]["resourceVersion"] = version.to_string().into();
        self.objects.lock().insert(object, value);
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.clock.load(Ordering::SeqCst)).unwrap()
    }

    fn held(&self) -> Option<Held> {
        Held::read(&texts(&self.objects.lock()[&secret()]))
    }

    /// By whom the API server knows us: what all webhooks have.
    fn bundle(&self) -> String {
        let objects = self.objects.lock();
        let there = [hooks(), pins()].into_iter().filter(|object| objects.contains_key(object));
        let there: Vec<_> =
            there.map(|object| Webhooks::read(&object, &objects[&object]).unwrap()).collect();
        let all: Vec<_> = there.iter().flat_map(Webhooks::bundles).collect();
        assert!(all.windows(2).all(|two| two[0] == two[1]), "webhooks are trusted differently");
        all[0].to_owned()
    }

    fn found(&self, value: Value) -> Found {
        let off = Duration::from_secs(self.off.load(Ordering::SeqCst).unsigned_abs());
        Found { value, date: Some(self.now() + off) }
    }
}

impl Objects for Arc<Cluster> {
    async fn get(&self, object: &Object) -> Result<Found, RenewalError> {
        if *self.is_away.lock() {
            pending::<()>().await;
        }
        if self.hidden.lock().contains(object) {
            let object = object.clone();
            return Err(RenewalError::Forbidden { verb: Verb::Get, object, said: String::new() });
        }
        let objects = self.objects.lock();
        let value = objects.get(object);
        let absent = || RenewalError::Absent { object: object.clone() };
        Ok(self.found(value.ok_or_else(absent)?.clone()))
    }

    async fn put(&self, object: &Object, verb: Verb, value: &Value) -> Result<Found, RenewalError> {
        if let Some(before) = self.before_put.lock().take() {
            before(self);
        }
        let object = object.clone();
        if self.forbidden.lock().contains(&object) {
            return Err(RenewalError::Forbidden { verb, object, said: String::new() });
        }
        let mut there = self.objects.lock()[&object].clone();
        let version = |value: &Value| value["metadata"]["resourceVersion"].clone();
        if version(&there) != version(value) || self.fought_over.lock().contains(&object) {
            return Err(RenewalError::Conflict { object });
        }
        if verb == Verb::Update {
            there = value.clone();
        } else {
            for change in value["webhooks"].as_array().unwrap() {
                let hooks = there["webhooks"].as_array_mut().unwrap();
                let hook = hooks.iter_mut().find(|hook| hook["name"] == change["name"]).unwrap();
                hook["clientConfig"]["caBundle"] = change["clientConfig"]["caBundle"].clone();
            }
        }
        self.set(object, there.clone());
        Ok(self.found(there))
    }
}

const DAY: Duration = Duration::from_hours(24);

fn replica(cluster: &Arc<Cluster>) -> Keeper<Arc<Cluster>> {
    let terms = Terms {
        names: vec![NAME.to_owned()],
        certificate_life: DAY * 30,
        authority_life: DAY * 360,
    };
    let api = ApiConfig {
        host: "unused".to_owned(),
        port: 0,
        authorities: "unused".into(),
        token: "unused".into(),
    };
    let config = RenewalConfig { api, secret: secret(), webhooks: vec![hooks(), pins()], terms };
    let clock = Arc::clone(&cluster.clock);
    let now: Now = Arc::new(move || {
        OffsetDateTime::from_unix_timestamp(clock.load(Ordering::SeqCst)).unwrap()
    });
    let tls = TlsConfig { pair: None, renewal: None, client_authorities: None };
    let certificates = Arc::new(Certificates::load(&tls, Arc::clone(&now)).unwrap());
    Keeper::new(Arc::clone(cluster), config, certificates, Arc::default(), now)
}

/// Whether the API server believes what the replica shows.
fn is_believed(cluster: &Cluster, replica: &Keeper<Arc<Cluster>>) -> bool {
    is_believed_by(&cluster.bundle(), cluster, replica)
}

fn is_believed_by(bundle: &str, cluster: &Cluster, replica: &Keeper<Arc<Cluster>>) -> bool {
    let shown = replica.shown.as_ref().unwrap();
    authorities(bundle).iter().any(|authority| {
        portcullis_tls::is_believed(authority.as_bytes(), shown.as_bytes(), NAME, cluster.now())
    })
}

/// Looks as a replica does, until it shows what is held.
async fn settle(replica: &mut Keeper<Arc<Cluster>>) {
    for _ in 0..10 {
        match replica.look().await {
            Ok(Looked::Well) => return,
            Ok(Looked::Waits(pause)) => sleep(pause).await,
            Err(RenewalError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it does not settle");
}

#[tokio::test(start_paused = true)]
async fn the_api_server_is_told_before_anything_is_shown() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    assert_eq!(one.look().await.unwrap(), Looked::Waits(SETTLE));
    assert_eq!((one.certificates.expires(), one.shown.clone()), (None, None));
    assert!(cluster.bundle().contains("BEGIN CERTIFICATE"));
    sleep(SETTLE - Duration::from_millis(1)).await;
    assert!(matches!(one.look().await.unwrap(), Looked::Waits(_)));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(one.look().await.unwrap(), Looked::Well);
    assert!(one.certificates.expires().is_some() && is_believed(&cluster, &one));
    // What else is in the Secret is left as it is.
    assert_eq!(cluster.objects.lock()[&secret()]["metadata"]["labels"], json!({"a": "b"}));
    // Another takes what is there, and changes nothing.
    let version = cluster.version.load(Ordering::SeqCst);
    let mut other = replica(&cluster);
    settle(&mut other).await;
    assert_eq!(other.shown, one.shown);
    assert_eq!(cluster.version.load(Ordering::SeqCst), version);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_renew_at_once_agree() {
    let cluster = Cluster::new();
    let (mut one, mut other) = (replica(&cluster), replica(&cluster));
    let quicker = Held::new(Vec::new(), &one.config.terms, NOW).unwrap();
    let data = quicker.data();
    *cluster.before_put.lock() = Some(Box::new(move |cluster| {
        let there = cluster.objects.lock()[&secret()].clone();
        cluster.set(secret(), with_texts(there, &data));
    }));
    let slower = one.look().await;
    assert!(matches!(slower, Err(RenewalError::Conflict { object }) if object == secret()));
    settle(&mut one).await;
    settle(&mut other).await;
    assert_eq!(one.shown.as_ref(), Some(&quicker.certificate.certificate));
    assert_eq!(one.shown, other.shown);
    assert!(is_believed(&cluster, &one));
}

#[tokio::test(start_paused = true)]
async fn who_has_an_old_secret_does_not_write_over_what_a_newer_one_announced() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    settle(&mut one).await;
    // Somebody takes the authority out of one configuration, and while `one` puts it back a new authority is
    // announced.
    let mut there = cluster.objects.lock()[&pins()].clone();
    there["webhooks"][0]["clientConfig"]["caBundle"] = "".into();
    cluster.set(pins(), there);
    *cluster.before_put.lock() = Some(Box::new(|cluster| {
        let mut there = cluster.objects.lock()[&pins()].clone();
        there["webhooks"][0]["clientConfig"]["caBundle"] = "bmV3ZXI=".into();
        cluster.set(pins(), there);
    }));
    assert!(matches!(one.look().await, Err(RenewalError::Conflict { .. })));
    let now = cluster.objects.lock()[&pins()]["webhooks"][0]["clientConfig"]["caBundle"].clone();
    assert_eq!(now, "bmV3ZXI=");
    settle(&mut one).await;
    assert!(is_believed(&cluster, &one));
}

#[tokio::test(start_paused = true)]
async fn in_three_years_there_is_no_look_at_which_the_api_server_does_not_believe_a_replica() {
    let cluster = Cluster::new();
    let mut replicas = [replica(&cluster), replica(&cluster), replica(&cluster)];
    for one in &mut replicas {
        settle(one).await;
    }
    let (mut shown, mut authorities_seen) = (Vec::new(), Vec::new());
    for turn in 0..3 * 365 * 2 {
        cluster.clock.fetch_add(12 * 3600, Ordering::SeqCst);
        for (number, one) in replicas.iter_mut().enumerate() {
            // One of them looks at every fourth turn only: it is slow to hear of anything.
            if number == 2 && turn % 4 != 0 {
                continue;
            }
            match one.look().await {
                Ok(_) | Err(RenewalError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            sleep(Duration::from_secs(2)).await;
        }
        for one in &replicas {
            assert!(is_believed(&cluster, one), "after {turn} turns");
        }
        shown.push(replicas[0].shown.clone().unwrap());
        authorities_seen.push(cluster.held().unwrap().authority.certificate);
        assert!(authorities(&cluster.bundle()).len() <= 2);
    }
    shown.dedup();
    authorities_seen.dedup();
    assert!(shown.len() >= 50, "{} certificates", shown.len());
    assert_eq!(authorities_seen.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_new_authority_is_announced_beside_the_old_one_before_it_is_used() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    settle(&mut one).await;
    let (first, old) = (one.shown.clone(), cluster.held().unwrap().authority.certificate);
    cluster.clock.fetch_add(240 * 24 * 3600, Ordering::SeqCst);
    // Its certificate has ended by then, as if it had been away: it has another at once, which is trusted already.
    assert_eq!(one.look().await.unwrap(), Looked::Well);
    assert!(one.shown != first && is_believed(&cluster, &one));
    let before = one.shown.clone();
    assert_eq!(one.look().await.unwrap(), Looked::Well);
    let (held, bundle) = (cluster.held().unwrap(), cluster.bundle());
    let new = held.next.unwrap().certificate;
    assert!(held.authority.certificate == old && bundle.contains(&new) && bundle.contains(&old));
    assert!(matches!(one.look().await.unwrap(), Looked::Waits(_)));
    assert_eq!(cluster.held().unwrap().authority.certificate, new);
    assert_eq!((&one.shown, cluster.bundle().contains(&old)), (&before, true));
    settle(&mut one).await;
    assert!(one.shown != before && is_believed(&cluster, &one));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_emptied_or_a_bundle_that_was_taken_away_is_made_good() {
    let cluster = Cluster::new();
    let (mut one, mut other) = (replica(&cluster), replica(&cluster));
    settle(&mut one).await;
    settle(&mut other).await;
    cluster.set(secret(), json!({"metadata": {}, "data": {"tls.crt": 7, "ca.crt": "!"}}));
    assert!(matches!(one.look().await.unwrap(), Looked::Waits(_)));
    // The other has not looked yet, and is believed.
    assert!(is_believed(&cluster, &other) && is_believed(&cluster, &one));
    settle(&mut one).await;
    settle(&mut other).await;
    assert_eq!(one.shown, other.shown);
    let mut there = cluster.objects.lock()[&hooks()].clone();
    for hook in there["webhooks"].as_array_mut().unwrap() {
        hook["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    }
    cluster.set(hooks(), there);
    other.look().await.unwrap();
    assert!(is_believed(&cluster, &one));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_by_a_clock_that_is_wrong() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    let early = i64::try_from(EARLY.as_secs()).unwrap();
    cluster.off.store(early + 1, Ordering::SeqCst);
    assert!(matches!(one.look().await, Err(RenewalError::Clock { apart }) if apart == 301));
    assert!(cluster.held().is_none());
    cluster.off.store(early, Ordering::SeqCst);
    settle(&mut one).await;
    // What is good is shown by who has a wrong clock too.
    cluster.off.store(early + 1, Ordering::SeqCst);
    settle(&mut replica(&cluster)).await;
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_announced_is_not_shown_and_the_right_that_lacks_is_named() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    cluster.forbidden.lock().extend([hooks(), pins()]);
    let error = one.look().await.unwrap_err();
    let text = error.to_string();
    for word in ["patch", "MutatingWebhookConfiguration `gate`", "ClusterRole"] {
        assert!(text.contains(word), "{text}");
    }
    sleep(SETTLE * 2).await;
    one.look().await.unwrap_err();
    assert_eq!(one.shown, None);
    cluster.forbidden.lock().insert(secret());
    cluster.set(secret(), json!({"metadata": {}}));
    let text = one.look().await.unwrap_err().to_string();
    assert!(text.contains("update Secret `portcullis/own`") && text.contains("the Role"), "{text}");
}
