//! Certificates as they are, and what their holders may do.

use time::OffsetDateTime;

use super::*;

const PATHS: [&str; 7] = [
    "/grpc.health.v1.Health/Watch",
    "/portcullis.v1.DecisionService/Check",
    "/portcullis.v1.DecisionService/Watch",
    "/portcullis.v1.EvidenceService/GetEvidence",
    "/portcullis.v1.EvidenceService/Refresh",
    "/portcullis.v1.PolicyService/ListRules",
    "/portcullis.v1.Other/Thing",
];

fn peer(spiffe: &[&str], dns: &[&str]) -> Peer {
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Peer { spiffe: texts(spiffe), dns: texts(dns), until: OffsetDateTime::UNIX_EPOCH }
}

fn identities() -> Identities {
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let place =
        Place { cluster: "prod".to_owned(), account: "shop".to_owned(), ..Place::default() };
    Identities::new([
        (
            names(&["spiffe://a/shim", "shim.prod.example", "other.prod.example"]),
            Role::Cluster(place),
        ),
        (names(&["reader.example"]), Role::Reader),
        (names(&["spiffe://a/writer"]), Role::Writer),
    ])
    .unwrap()
}

fn who(spiffe: &[&str], dns: &[&str]) -> Who {
    identities().who(Caller::default(), &peer(spiffe, dns))
}

/// Which of [`PATHS`] it may call.
#[track_caller]
fn check(spiffe: &[&str], dns: &[&str], expected: [bool; 7]) {
    let who = who(spiffe, dns);
    let may = PATHS.map(|path| who.may(path).is_ok());
    assert_eq!(may, expected, "{spiffe:?} {dns:?}");
}

#[test]
fn who_is_known_may_what_its_role_says() {
    let cluster = [true, true, true, false, false, false, false];
    check(&["spiffe://a/shim"], &[], cluster);
    check(&[], &["shim.prod.example"], cluster);
    // Two names of the same.
    check(&[], &["unknown.example", "shim.prod.example", "other.prod.example"], cluster);
    check(&[], &["reader.example"], [true, false, false, true, false, true, false]);
    check(&["spiffe://a/writer"], &[], [true; 7]);
    // A SPIFFE ID alone counts where there is one.
    check(&["spiffe://a/shim"], &["reader.example"], cluster);
}

#[test]
fn who_is_not_known_may_nothing_and_hears_what_helps() {
    let refused = |spiffe: &[&str], dns: &[&str], word: &str| {
        check(spiffe, dns, [false; 7]);
        let Err(Refusal::Stranger(why)) = who(spiffe, dns).may(PATHS[1]) else { panic!("it may") };
        assert!(why.contains(word), "{why}");
    };
    refused(&[], &[], "no SPIFFE ID and no DNS name");
    refused(&["spiffe://a/other"], &[], "called `spiffe://a/other`");
    refused(&["spiffe://a/other"], &["shim.prod.example"], "`identities`");
    refused(&[], &["x.example", "y.example"], "called `x.example, y.example`");
    refused(&["spiffe://a/shim", "spiffe://a/shim"], &[], "2 SPIFFE IDs");
    refused(&[], &["shim.prod.example", "reader.example"], "several clusters or operators");
    // What a certificate says is shown as text, and not all of it.
    refused(&["spiffe://a/\u{1b}[31m"], &[], "\\u{1b}");
    let long = format!("spiffe://a/{}", "x".repeat(10_000));
    let Err(refusal) = who(&[&long], &[]).may(PATHS[0]) else { panic!("it may") };
    assert!(refusal.to_string().len() < 1_000);
}

#[test]
fn a_name_speaks_for_one() {
    let name = || vec!["a.example".parse().unwrap()];
    let twice = Identities::new([(name(), Role::Reader), (name(), Role::Writer)]).unwrap_err();
    assert_eq!(twice.0.to_string(), "a.example");
}

#[test]
fn callers_are_told_apart_by_who_they_are() {
    let from = |port| Caller::of(([127, 0, 0, 1], port).into());
    let caller = |port, id: &str| identities().who(from(port), &peer(&[id], &[])).caller();
    assert_eq!(caller(1, "spiffe://a/shim"), caller(2, "spiffe://a/shim"));
    assert_ne!(caller(1, "spiffe://a/shim"), caller(1, "spiffe://a/writer"));
    assert_ne!(caller(1, "spiffe://a/other"), caller(2, "spiffe://a/other"));
}

/// The cluster and the account of a question once it is bound, or the field that it is refused for.
#[track_caller]
fn bound(who: &Who, cluster: &str, account: &str, expected: Result<(&str, &str), &str>) {
    let (cluster, account) = (cluster.to_owned(), account.to_owned());
    let mut context = Arc::new(Context { cluster, account, ..Context::default() });
    let bound = match who.bind(&mut context) {
        Ok(()) => Ok((context.cluster.as_str(), context.account.as_str())),
        Err(Refusal::Elsewhere { field, .. }) => Err(field),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(bound, expected);
}

#[test]
fn a_question_is_about_the_cluster_of_its_certificate() {
    let shim = who(&["spiffe://a/shim"], &[]);
    bound(&shim, "", "", Ok(("prod", "shop")));
    bound(&shim, "prod", "shop", Ok(("prod", "shop")));
    bound(&shim, "test", "", Err("context.cluster"));
    bound(&shim, "", "other", Err("context.cloud.account"));
    // Whoever may change the rules may ask as anybody, and so may whoever asks without TLS.
    for who in [who(&["spiffe://a/writer"], &[]), Who::open(Caller::default())] {
        bound(&who, "test", "x", Ok(("test", "x")));
        bound(&who, "", "", Ok(("", "")));
    }
    // What is not configured is as the question says.
    let mut context = Arc::new(Context { region: "west".to_owned(), ..Context::default() });
    shim.bind(&mut context).unwrap();
    assert_eq!(context.region, "west");
}
