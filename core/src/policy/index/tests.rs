//! What is looked up is what a look at every scope finds, and no more is looked at than needed.

mod glass;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::decide::Context;
use crate::image::Reference;
use crate::policy::labels::{Requirement, Selector};
use crate::policy::node::Place;
use crate::policy::prefix::Prefix;
use crate::policy::{MAX_RULES, Parts};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Names, some of them the beginning of others.
const NAMES: [&str; 8] = ["a", "ab", "ab-c", "b", "abc", "web", "w", "we\u{e9}"];
const WORKLOADS: [&str; 8] = [
    "Deployment/web",
    "ReplicaSet/web",
    "ReplicaSet/web-6d4b75cb6d",
    "Deployment/x/web",
    "Job/web",
    "CronJob/web",
    "StatefulSet/web",
    "Deployment/",
];
const PODS: [&str; 7] =
    ["", "web", "web-0", "web-24567", "web-hx2k4", "web-6d4b75cb6d-hx2k4", "web-29384760-hx2k4"];
const IMAGES: [&str; 8] = [
    "reg.io/team",
    "reg.io/team/app:v1",
    "reg.io/team/app:v1.2",
    "reg.io/team-evil/app",
    "reg.io:5000/team",
    "nginx:1.27",
    "reg.io/team/app@sha256:",
    "reg.io/team/app:v1@sha256:",
];
const PREFIXES: [&str; 12] = [
    "reg.io",
    "reg.io/team",
    "reg.io/team/",
    "reg.io/team/app",
    "reg.io/team-evil",
    "reg.io/team/app:v1",
    "reg.io/team/app:v",
    "reg.io:5000",
    "docker.io",
    "nginx",
    "nginx:1.",
    "x.io",
];
const IDS: IdKey = 6;

fn image(text: &str) -> Reference {
    let digest = if text.ends_with(':') { HEX } else { "" };
    format!("{text}{digest}").parse().unwrap()
}

fn digest(n: u8) -> Digest {
    Digest::of(&[n])
}

fn texts(field: Field) -> BoxedStrategy<Box<str>> {
    let image = select(&IMAGES[..]).prop_map(image);
    match field {
        Field::Image => image.prop_map(|image| image.as_str().into()).boxed(),
        Field::Repository => image.prop_map(|image| image.name().into()).boxed(),
        Field::Registry => image.prop_map(|image| image.registry().into()).boxed(),
        Field::Workload => select(&WORKLOADS[..]).prop_map(Into::into).boxed(),
        Field::Pod => select(&PODS[1..]).prop_map(Into::into).boxed(),
        _ => select(&NAMES[..]).prop_map(Into::into).boxed(),
    }
}

fn test(field: Field) -> impl Strategy<Value = Test> {
    let texts = || vec(texts(field), 1..4);
    let parts = || {
        vec(texts().prop_map(|mut all| all.remove(0)), 1..3).prop_map(|all| {
            all.iter().map(|text| text.chars().take(3).collect::<String>().into()).collect()
        })
    };
    let prefixes = vec(select(&PREFIXES[..]).prop_map(|p| Prefix::parse(p).unwrap()), 1..4);
    prop_oneof![
        4 => texts().prop_map(|values| Test::Equals(values.into_iter().collect())),
        1 => texts().prop_map(|values| Test::NotEquals(values.into_iter().collect())),
        2 => prefixes.prop_map(Test::Within),
        2 => texts().prop_map(Test::StartsWith),
        1 => texts().prop_map(Test::EndsWith),
        1 => parts().prop_map(Test::Contains),
    ]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let fields = vec![
        Field::Provider,
        Field::Cluster,
        Field::Namespace,
        Field::Workload,
        Field::Pod,
        Field::ServiceAccount,
        Field::Image,
        Field::Registry,
        Field::Repository,
    ];
    select(fields).prop_flat_map(|field| test(field).prop_map(move |test| Matcher { field, test }))
}

fn selector() -> impl Strategy<Value = (Field, Selector)> {
    let operators =
        vec![Operator::In, Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist];
    let name = || select(&NAMES[..4]).prop_map(str::to_owned);
    let requirement = (name(), select(operators), vec(name(), 1..3))
        .prop_map(|(key, operator, values)| Requirement { key, operator, values });
    let fields = vec![Field::PodLabels, Field::NamespaceLabels];
    (select(fields), vec(requirement, 0..3).prop_map(|requirements| Selector { requirements }))
}

fn scope() -> impl Strategy<Value = Scope> {
    (vec(matcher(), 0..3), vec(selector(), 0..2))
        .prop_map(|(matchers, selectors)| Scope { matchers, selectors })
}

fn context() -> impl Strategy<Value = Context> {
    let name = || select(&NAMES[..]).prop_map(str::to_owned);
    let labels = || btree_map(name(), name(), 0..4);
    let workload = prop_oneof![
        Just("/"),
        select(&PODS[..]).prop_map(|_| "Pod/web-hx2k4"),
        select(&WORKLOADS[..])
    ];
    let hash = option::weighted(0.3, select(vec!["6d4b75cb6d", "x"]));
    let texts = (name(), name(), name(), name(), select(&PODS[..]));
    (texts, workload, labels(), labels(), hash).prop_map(
        |((provider, cluster, namespace, service_account, pod), workload, ns, mut own, hash)| {
            let (kind, workload) = workload.split_once('/').unwrap();
            own.extend(hash.map(|hash| ("pod-template-hash".to_owned(), hash.to_owned())));
            Context {
                provider,
                cluster,
                namespace,
                service_account,
                namespace_labels: ns,
                workload_kind: kind.to_owned(),
                workload: workload.to_owned(),
                pod: pod.to_owned(),
                pod_labels: own,
                ..Context::default()
            }
        },
    )
}

fn rule(n: usize, enabled: bool, scope: Scope) -> Rule {
    Rule { enabled, scope, ..Rule::new(format!("r{n}").into()) }
}

fn exemption(
    (scope, images, vulnerabilities): (Scope, Vec<TextTest>, Vec<IdTest>),
) -> Arc<Exemption> {
    Arc::new(Exemption {
        name: "e".into(),
        owner: "".into(),
        reason: "".into(),
        ticket: None,
        from: None,
        until: None,
        until_fixed: false,
        rules: None,
        scope,
        images,
        vulnerabilities,
        place: ("".into(), Place::default()),
    })
}

fn id(key: IdKey) -> Box<str> {
    format!("CVE-{key}").into()
}

fn exemptions() -> impl Strategy<Value = Vec<Arc<Exemption>>> {
    let digests = || vec((0..4_u8).prop_map(|n| digest(n).to_string().into()), 1..3);
    let images = prop_oneof![
        digests().prop_map(TextTest::Equals),
        Just(TextTest::Equals(vec!["no digest".into()])),
        digests().prop_map(TextTest::EndsWith),
    ];
    let keys = || vec((0..IDS).prop_map(|key| (key, id(key))), 1..4);
    let vulnerabilities = prop_oneof![
        3 => keys().prop_map(IdTest::Equals),
        1 => Just(IdTest::Text(TextTest::StartsWith(vec!["CVE-".into()]))),
    ];
    let parts = (scope(), vec(images, 0..2), vec(vulnerabilities, 0..3));
    vec(parts.prop_map(exemption), 0..12)
}

fn policy(rules: Vec<Rule>, exemptions: Vec<Arc<Exemption>>) -> Policy {
    Policy::new("test".into(), Parts { rules, exemptions, ..Parts::default() })
}

/// How many rules are looked at for `ctx`.
fn looked_at(policy: &Policy, image: &str, ctx: &Context) -> usize {
    let mut count = 0;
    let image: Reference = image.parse().unwrap();
    policy.indexes.rules.candidates(&Target::new(&image, ctx), |_| count += 1);
    count
}

/// A scope in which `field` must be one of `values`.
fn equals(field: Field, values: &[&str]) -> Matcher {
    Matcher { field, test: Test::Equals(values.iter().map(|v| (*v).into()).collect()) }
}

fn matched(matchers: Vec<Matcher>) -> Scope {
    Scope { matchers, selectors: Vec::new() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_rules_that_are_looked_up_are_those_in_scope_each_once(
        scopes in vec((any::<bool>(), scope()), 0..12),
        name in select(&IMAGES[..]),
        ctx in context(),
    ) {
        let image = image(name);
        let target = Target::new(&image, &ctx);
        let rules = scopes.into_iter().enumerate();
        let policy = policy(rules.map(|(n, (enabled, scope))| rule(n, enabled, scope)).collect(), vec![]);
        let mut found = Vec::new();
        policy.rules_in_scope(&target, |rule| found.push(&**rule.name()));
        found.sort_unstable();
        let covers = |rule: &&Rule| rule.is_enabled() && rule.scope.covers(&target);
        let mut expected: Vec<_> =
            policy.rules().iter().filter(covers).map(|rule| &**rule.name()).collect();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_exemption_that_applies_is_missed_and_none_is_looked_at_twice(
        exemptions in exemptions(),
        name in select(&IMAGES[..]),
        ctx in context(),
        digests in vec((0..4_u8).prop_map(digest), 0..3),
        mut keys in vec((0..IDS, 0..9_u32), 0..6),
    ) {
        keys.sort_unstable();
        let image = image(name);
        let target = Target::new(&image, &ctx);
        let policy = policy(vec![], exemptions);
        let mut found: Vec<*const Exemption> = Vec::new();
        policy.exemptions_for(&target, &digests, &keys, |e| found.push(Arc::as_ptr(e)));
        let visits = found.len();
        found.sort_unstable();
        found.dedup();
        prop_assert_eq!(visits, found.len());
        for exemption in policy.exemptions() {
            let named = exemption.vulnerabilities.iter().all(|test| match test {
                IdTest::Equals(ids) => ids.iter().any(|(id, _)| keys.iter().any(|(k, _)| k == id)),
                IdTest::Text(_) => true,
            });
            if named && exemption.covers(&target, &digests) {
                prop_assert!(found.contains(&Arc::as_ptr(exemption)), "{:?}", exemption);
            }
        }
    }
}

#[test]
fn of_ten_thousand_rules_those_of_another_place_are_not_looked_at() {
    let ctx = Context {
        cluster: "prod".to_owned(),
        namespace: "team-7".to_owned(),
        workload_kind: "Deployment".to_owned(),
        workload: "web-7".to_owned(),
        namespace_labels: [("team".to_owned(), "t7".to_owned())].into(),
        ..Context::default()
    };
    type Matchers = fn(&str) -> Vec<Matcher>;
    let kinds: [Matchers; 6] = [
        |n| vec![equals(Field::Namespace, &[&format!("team-{n}")])],
        |n| {
            let team = format!("team-{n}");
            let starts = vec![team.to_string().into(), format!("{team}-x").into()];
            vec![Matcher { field: Field::Namespace, test: Test::StartsWith(starts) }]
        },
        |n| vec![equals(Field::Workload, &[&format!("Deployment/web-{n}")])],
        |n| vec![equals(Field::Image, &[&format!("reg.io/team-{n}/app:v1")])],
        |n| {
            let prefix = Prefix::parse(&format!("reg.io/team-{n}")).unwrap();
            vec![Matcher { field: Field::Repository, test: Test::Within(vec![prefix]) }]
        },
        // What all rules say is no anchor where they say something else too.
        |n| {
            vec![
                equals(Field::Cluster, &["prod"]),
                equals(Field::Registry, &["reg.io", "other.io"]),
                equals(Field::Namespace, &[&format!("team-{n}"), &format!("more-{n}")]),
            ]
        },
    ];
    for (kind, matchers) in kinds.into_iter().enumerate() {
        let scope = |n: usize| matched(matchers(&(n % (MAX_RULES / 10)).to_string()));
        let policy = policy((0..MAX_RULES).map(|n| rule(n, true, scope(n))).collect(), vec![]);
        assert_eq!(looked_at(&policy, "reg.io/team-7/app:v1", &ctx), 10, "{kind}");
        assert_eq!(looked_at(&policy, "nginx", &Context::default()), 0, "{kind}");
    }
    let labelled = |n: usize| {
        let (key, operator) = ("team".to_owned(), Operator::In);
        let values = vec![format!("t{}", n % (MAX_RULES / 10))];
        let requirements = vec![Requirement { key, operator, values }];
        let selectors = vec![(Field::NamespaceLabels, Selector { requirements })];
        Scope { selectors, matchers: Vec::new() }
    };
    let policy = policy((0..MAX_RULES).map(|n| rule(n, true, labelled(n))).collect(), vec![]);
    assert_eq!(looked_at(&policy, "nginx", &ctx), 10);
}

#[test]
fn a_rule_for_paths_within_each_other_is_looked_at_once() {
    // In the order of bytes the second stands between the others.
    let paths = ["reg.io/team", "reg.io/team-evil", "reg.io/team/app"];
    let prefixes = paths.iter().map(|path| Prefix::parse(path).unwrap()).collect();
    let within = Matcher { field: Field::Image, test: Test::Within(prefixes) };
    let policy = policy(vec![rule(0, true, matched(vec![within]))], vec![]);
    for (image, count) in [
        ("reg.io/team/app/x:v1", 1),
        ("reg.io/team:v1", 1),
        ("reg.io/team-evil/x", 1),
        ("reg.io/team-mates/x", 0),
        ("reg.io", 0),
    ] {
        assert_eq!(looked_at(&policy, image, &Context::default()), count, "{image}");
    }
}

#[test]
fn of_ten_thousand_exemptions_those_for_other_vulnerabilities_are_not_looked_at() {
    let named = |n: IdKey| vec![IdTest::Equals(vec![(n, id(n))])];
    let everywhere = |n: IdKey| exemption((Scope::default(), vec![], named(n)));
    let one_digest = |n: u8| {
        let image = TextTest::Equals(vec![digest(n).to_string().into()]);
        exemption((Scope::default(), vec![image], vec![]))
    };
    // One vulnerability that all teams are exempt from, each in its namespace.
    let per_team = |n: IdKey| {
        let namespace = equals(Field::Namespace, &[&format!("team-{n}")]);
        exemption((matched(vec![namespace]), vec![], named(0)))
    };
    let mut all: Vec<_> = (1..4_000).map(everywhere).collect();
    all.extend((0..200).map(one_digest));
    all.extend((0..4_000).map(per_team));
    let policy = policy(vec![], all);
    let looked_at = |namespace: &str, digests: &[Digest], keys: &[(IdKey, u32)]| {
        let (image, mut count) = (image("nginx:1.27"), 0);
        let ctx = Context { namespace: namespace.to_owned(), ..Context::default() };
        policy.exemptions_for(&Target::new(&image, &ctx), digests, keys, |_| count += 1);
        count
    };
    assert_eq!(looked_at("shop", &[], &[]), 0);
    assert_eq!(looked_at("shop", &[], &[(0, 0), (7, 0), (7, 1), (9, 2)]), 2);
    assert_eq!(looked_at("team-3", &[], &[(0, 0)]), 1);
    assert_eq!(looked_at("shop", &[digest(1), digest(1), digest(2)], &[]), 2);
}

#[test]
fn an_exemption_is_kept_under_so_many_vulnerabilities_at_most() {
    let of = |count: usize| {
        let ids = (0..).take(count).map(|key| (key, id(key))).collect();
        policy(vec![], vec![exemption((Scope::default(), vec![], vec![IdTest::Equals(ids)]))])
    };
    let looked_at = |policy: &Policy, keys: &[(IdKey, u32)]| {
        let (image, ctx, mut count) = (image("nginx:1.27"), Context::default(), 0);
        policy.exemptions_for(&Target::new(&image, &ctx), &[], keys, |_| count += 1);
        count
    };
    let (kept, general) = (of(MAX_IDS), of(MAX_IDS + 1));
    assert_eq!(looked_at(&kept, &[]), 0);
    assert_eq!(looked_at(&kept, &[(3, 0), (5, 1), (60, 2)]), 1);
    assert_eq!(looked_at(&general, &[]), 1);
    assert_eq!(looked_at(&general, &[(3, 0), (5, 1)]), 1);
}
