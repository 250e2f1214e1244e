use std::collections::BTreeMap;

use super::*;

fn replicas(count: u8) -> Vec<Arc<Replica>> {
    let url = tonic::codegen::http::Uri::from_static("http://a:1");
    let new = |n: u8| {
        let address = SocketAddr::from(([127, 0, 0, n], 1));
        Arc::new(Replica::new(u64::from(n), address, url.clone(), Arc::new(crate::Tcp), None))
    };
    (0..count).map(new).collect()
}

#[tokio::test]
async fn calls_spread_evenly_where_all_are_alike() {
    const CALLS: usize = 6_000;
    let (chance, replicas) = (Chance::default(), replicas(3));
    let all: Vec<_> = replicas.iter().collect();
    let mut counts = BTreeMap::new();
    for _ in 0..CALLS {
        *counts.entry(chance.lighter(&all).unwrap().id).or_insert(0_usize) += 1;
    }
    // Within 20 % of the mean; by chance it is 3 %.
    let mean = CALLS / replicas.len();
    assert_eq!(counts.len(), 3);
    assert!(counts.values().all(|c| c.abs_diff(mean) < mean / 5), "{counts:?}");
}

#[tokio::test]
async fn of_two_the_lighter_is_taken_and_of_none_none() {
    let (chance, replicas) = (Chance::default(), replicas(2));
    let all: Vec<_> = replicas.iter().collect();
    assert!(chance.lighter(&[]).is_none());
    assert_eq!(chance.lighter(&all[..1]).unwrap().id, 0);
    let _call = replicas[0].count();
    for _ in 0..100 {
        assert_eq!(chance.lighter(&all).unwrap().id, 1);
    }
}
