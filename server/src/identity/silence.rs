//! Connections and questions of clusters in, which clusters are silent out.
//!
//! A cluster whose shim is gone gates nothing by our rules, and nobody in it need notice. One whose webhook
//! configuration is gone keeps its connection, and stops asking: when it asked last is told for that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_core::ports::Clock;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Identities, Known, Role};
use crate::caught::lasting;
use crate::metrics::Metrics;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(10);
/// For how long nothing is heard of a cluster that is silent. With an alert that is evaluated every minute, it is
/// known within five.
const SILENT_AFTER: Duration = Duration::from_secs(230);

/// One cluster that is known by a certificate.
struct Cluster {
    known: Arc<Known>,
    name: String,
    heard: Instant,
    is_silent: bool,
}

/// Tells of the clusters among `identities` until `stop`. Each counts as heard at the start.
pub(crate) async fn follow(
    identities: Identities,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let tell = || tell(&identities, &clock, &metrics, &stop);
    lasting("clusters", Arc::clone(&metrics), stop.clone(), tell).await;
}

async fn tell(
    identities: &Identities,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
    stop: &CancellationToken,
) {
    let mut clusters = clusters(identities);
    for cluster in &clusters {
        metrics.cluster_asked(&cluster.name, clock.now());
    }
    loop {
        for cluster in &mut clusters {
            if cluster.known.asked.swap(false, Ordering::Relaxed) {
                metrics.cluster_asked(&cluster.name, clock.now());
                cluster.heard = Instant::now();
            }
            cluster.look();
            metrics.cluster_silent(&cluster.name, cluster.is_silent);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
    }
}

fn clusters(identities: &Identities) -> Vec<Cluster> {
    let mut all: Vec<_> = identities.0.values().collect();
    all.sort_by_key(|known| known.number);
    // One that has several names is there under each.
    all.dedup_by_key(|known| known.number);
    let named = all.into_iter().filter_map(|known| match &known.role {
        Role::Cluster(place) => Some((known, place.cluster.clone())),
        Role::Reader | Role::Writer => None,
    });
    named
        .map(|(known, name)| Cluster {
            known: Arc::clone(known),
            name,
            heard: Instant::now(),
            is_silent: false,
        })
        .collect()
}

impl Cluster {
    /// Says it once when it falls silent, and once when it is heard again.
    fn look(&mut self) {
        if self.known.connections.load(Ordering::Relaxed) > 0 {
            self.heard = Instant::now();
        }
        let is_silent = self.heard.elapsed() >= SILENT_AFTER;
        let cluster = &*self.name;
        match (self.is_silent, is_silent) {
            (false, true) => tracing::warn!(
                cluster,
                "nothing is heard of a cluster: its shim is gone, or cannot reach this service"
            ),
            (true, false) => tracing::info!(cluster, "a cluster that was silent is heard again"),
            _ => {}
        }
        self.is_silent = is_silent;
    }
}

#[cfg(test)]
mod tests {
    use portcullis_tls::Peer;
    use time::OffsetDateTime;

    use super::super::Place;
    use super::*;
    use crate::caller::Caller;
    use crate::clock::SystemClock;

    const MINUTE: Duration = Duration::from_secs(60);

    fn identities() -> Identities {
        let place = |cluster: &str| {
            Role::Cluster(Place { cluster: cluster.to_owned(), ..Place::default() })
        };
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        Identities::new([
            (names(&["shim.prod.example", "old.prod.example"]), place("prod")),
            (names(&["shim.test.example"]), place("test")),
            (names(&["reader.example"]), Role::Reader),
        ])
        .unwrap()
    }

    fn peer(name: &str) -> Peer {
        Peer { spiffe: vec![], dns: vec![name.to_owned()], until: OffsetDateTime::UNIX_EPOCH }
    }

    fn silent(metrics: &Metrics, cluster: &str) -> bool {
        let text = metrics.encode().unwrap();
        let line = format!("portcullis_cluster_silent{{cluster=\"{cluster}\"}} ");
        let value =
            text.lines().find_map(|l| l.strip_prefix(&line)).unwrap_or_else(|| panic!("{text}"));
        value == "1"
    }

    #[tokio::test(start_paused = true)]
    async fn t072_a_cluster_that_is_silent_is_told_of_within_five_minutes() {
        let (identities, metrics) = (identities(), Arc::new(Metrics::new()));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stop = CancellationToken::new();
        let prod = identities.who(Caller::default(), &peer("shim.prod.example"));
        let told = follow(identities.clone(), clock, Arc::clone(&metrics), stop.clone());
        let told = tokio::spawn(told);
        sleep(MINUTE).await;
        assert!(!silent(&metrics, "prod") && !silent(&metrics, "test"), "they have just begun");
        sleep(MINUTE * 3).await;
        assert!(!silent(&metrics, "prod") && silent(&metrics, "test"));
        // Nobody else is a cluster.
        assert!(!metrics.encode().unwrap().contains("reader"));
        // A connection that says nothing is somebody; a request under way outlives its connection.
        let call = prod.clone();
        drop(prod);
        sleep(MINUTE * 10).await;
        assert!(!silent(&metrics, "prod"));
        drop(call);
        sleep(MINUTE * 4).await;
        assert!(silent(&metrics, "prod"));
        // Whoever asks is heard, though no connection is there when it is looked.
        let test = identities.who(Caller::default(), &peer("shim.test.example"));
        test.bind(&mut Arc::default()).unwrap();
        drop(test);
        sleep(LOOK * 2).await;
        assert!(!silent(&metrics, "test"));
        stop.cancel();
        told.await.unwrap();
    }
}
