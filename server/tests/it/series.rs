//! What is shown stays of one size, whatever callers say.

use std::collections::BTreeSet;

use portcullis_proto::v1;
use portcullis_server::registry::Unlisted;
use tonic::metadata::MetadataValue;

use crate::world::*;

/// Names of images, tenants and callers, none twice.
const NAMES: usize = 100_000;
const CONTAINERS: usize = 250;

/// One admission of images that only one tenant has, in a place and by a caller that nobody has seen.
fn admission(number: usize) -> tonic::Request<v1::CheckRequest> {
    let name = |what: &str, n: usize| format!("{what}-{number}-{n}");
    let containers = (0..CONTAINERS)
        .map(|n| {
            container(&name("c", n), &format!("{}.example/{}:v{n}", name("r", n), name("i", n)))
        })
        .collect();
    let context = v1::Context {
        cluster: name("cluster", 0),
        namespace: name("namespace", 0),
        pod: name("pod", 0),
        service_account: name("account", 0),
        pod_labels: [(name("label", 0), name("value", 0))].into(),
        ..v1::Context::default()
    };
    let mut request = tonic::Request::new(v1::CheckRequest {
        context: Some(context),
        containers,
        explain: false,
        purpose: 0,
    });
    for header in ["user-agent", "x-tenant"] {
        let value: MetadataValue<_> = name(header, 0).parse().unwrap();
        request.metadata_mut().insert(header, value);
    }
    request
}

/// The series on the page: names with labels. Not those of the page's own readers, each of whom is a connection
/// that ends.
async fn series(world: &World) -> BTreeSet<String> {
    let (_, text) = world.page("/metrics").await;
    let lines =
        text.lines().filter(|line| !line.starts_with('#') && !line.contains(r#"listener="admin""#));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn t143_a_hundred_thousand_names_add_no_series() {
    let mut site = Site::new().await;
    site.config.registry.unlisted = Unlisted::Refused;
    let world = site.start().await;
    let ask = async |number| {
        let answer = world.client.clone().check(admission(number)).await.unwrap().into_inner();
        assert_eq!(answer.decisions.len(), CONTAINERS);
    };
    ask(0).await;
    let first = series(&world).await;
    for number in 1..NAMES / CONTAINERS {
        ask(number).await;
    }
    let last = series(&world).await;
    assert_eq!(last.difference(&first).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(world.metric("portcullis_decisions_total{action=\"deny\"}").await, 100_000.0);
    // And what is shown at all is what a person can look through.
    assert!(last.len() < 500, "{}", last.len());
}
