//! Random policies and questions, from few enough values that they meet.
#![expect(clippy::string_slice, reason = "all that is drawn is ASCII")]

pub(super) mod evidence;

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::case::Case;
use super::draws::Draws;
use super::spec::{
    BreakGlass, Count, Document, Exemption, Matcher, Requirement, Rule, Scope, When,
};
use super::{NOW, hours};
use crate::decide::{Action, Context, TOP_FINDINGS};
use evidence::{GHOST, IDS, digest, subjects};

const PROVIDERS: [&str; 3] = ["", "azure", "aws"];
const ACCOUNTS: [&str; 2] = ["", "acc"];
const REGIONS: [&str; 2] = ["", "eu"];
const CLUSTERS: [&str; 3] = ["", "prod-1", "test-1"];
const NAMESPACES: [&str; 4] = ["", "web", "web-dev", "db"];
const KINDS: [&str; 8] =
    ["", "Deployment", "ReplicaSet", "Pod", "StatefulSet", "DaemonSet", "Job", "CronJob"];
/// Names of workloads and pods; not all of what follows a `-` is what Kubernetes puts there.
const WORKLOADS: [&str; 8] =
    ["", "web", "web-6d4b75cb6d", "web-abcde", "web-29000000", "web-2900000", "db", "-2"];
const PODS: [&str; 8] = [
    "",
    "web-6d4b75cb6d-hx2k4",
    "web-29000000-hx2k4",
    "web-hx2k4",
    "web-0",
    "web-07",
    "web-6d4b75cb6d",
    "db-22222",
];
const HASHES: [&str; 3] = ["6d4b75cb6d", "hx2k4", ""];
const ACCOUNTS_OF_SERVICES: [&str; 2] = ["", "default"];
const CONTAINERS: [&str; 3] = ["", "app", "sidecar"];
const KEYS: [&str; 2] = ["team", "tier"];
const LABELS: [&str; 3] = ["", "a", "b"];
const IMAGES: [&str; 7] = [
    "reg.io/team/app:v1",
    "reg.io/team-evil/app:v1",
    "reg.io/team:v2",
    "reg.io:5000/team/app:v1",
    "eu.reg.io/team/app:v1",
    "eu-reg.io/team/app:v1",
    "nginx",
];
const REGISTRIES: [&str; 4] = ["reg.io", "reg.io:5000", "eu.reg.io", "docker.io"];
const REPOSITORIES: [&str; 4] =
    ["reg.io/team/app", "reg.io/team", "docker.io/library/nginx", "nginx"];
const PREFIXES: [&str; 6] =
    ["reg.io/team", "reg.io", "reg.io/team/", "nginx", "reg.io:5000/team", "docker.io"];
/// Registries, or paths within them.
const UNSUPPORTED: [&str; 4] = ["reg.io/team", "reg.io", "reg.io:5000", "docker.io/library"];
const PATTERNS: [&str; 8] = [
    "reg.io/team/*",
    "reg.io/*",
    "reg.io/**",
    "*.reg.io/**",
    "reg.io/*/app:v*",
    "docker.io/library/nginx",
    "reg.io/team/app@sha256:*",
    "reg.io/team*/app",
];
const PACKAGES: [&str; 5] =
    ["pkg:deb/*/a", "pkg:deb/**", "pkg:*/b", "pkg:npm/**", "pkg:deb/debian/*"];
/// Names of rules that are not in the order of the file.
const NAMES: [&str; 5] = ["r2", "r4", "r1", "r0", "r3"];
const AGES: [i64; 3] = [1, 24, 48];

/// A question at any time, or around an instant at which something begins or ends.
pub(super) fn case(draws: &mut Draws) -> Case {
    let document = document(draws);
    let subjects = subjects(draws);
    let mut case = Case { document, image: image(draws), ctx: context(draws), subjects, now: NOW };
    case.now = time_of(draws, &case);
    case
}

/// Another question to the same policy, of the same evidence or of other.
pub(super) fn another(draws: &mut Draws, case: &Case) -> Case {
    let mut other = Case { ctx: context(draws), ..case.clone() };
    if draws.one_in(2) {
        other.image = image(draws);
        other.subjects = subjects(draws);
    }
    other.now = time_of(draws, &other);
    other
}

/// A time at or beside a boundary of the question, or another.
pub(super) fn time_of(draws: &mut Draws, case: &Case) -> OffsetDateTime {
    let boundaries = case.boundaries();
    if draws.one_in(4) || boundaries.is_empty() {
        return NOW + hours(draws.pick(&[0, -30, 30, 1000]));
    }
    let boundary = draws.pick(&boundaries);
    let nanosecond = time::Duration::NANOSECOND;
    draws.pick(&[boundary, boundary - nanosecond, boundary + nanosecond])
}

pub(super) fn image(draws: &mut Draws) -> crate::image::Reference {
    let name = draws.pick(&IMAGES);
    // By tag, by digest, or by both; the digest is that of what the reference names.
    let text = match draws.below(4) {
        0 | 1 => name.to_owned(),
        2 => format!("{name}@{}", digest("")),
        _ => match name.rsplit_once(":v") {
            Some((repository, _)) => format!("{repository}@{}", digest("")),
            None => format!("{name}@{}", digest("")),
        },
    };
    text.parse().unwrap()
}

pub(super) fn context(draws: &mut Draws) -> Context {
    let mut text = |among: &[&str]| draws.pick(among).to_owned();
    let mut ctx = Context {
        provider: text(&PROVIDERS),
        account: text(&ACCOUNTS),
        region: text(&REGIONS),
        cluster: text(&CLUSTERS),
        namespace: text(&NAMESPACES),
        workload_kind: text(&KINDS),
        workload: text(&WORKLOADS),
        pod: text(&PODS),
        service_account: text(&ACCOUNTS_OF_SERVICES),
        container: text(&CONTAINERS),
        break_glass: text(&["", "the shop is down"]),
        ..Context::default()
    };
    if ctx.workload_kind.is_empty() && !draws.one_in(8) {
        ctx.workload.clear();
    }
    ctx.pod_labels = labels(draws);
    if draws.one_in(3) {
        ctx.pod_labels.insert("pod-template-hash".to_owned(), draws.pick(&HASHES).to_owned());
    }
    ctx.namespace_labels = labels(draws);
    ctx
}

fn labels(draws: &mut Draws) -> BTreeMap<String, String> {
    let label = |draws: &mut Draws| (draws.pick(&KEYS).to_owned(), draws.pick(&LABELS).to_owned());
    draws.list(2, 1, label).into_iter().collect()
}

fn document(draws: &mut Draws) -> Document {
    let mut names = NAMES.iter();
    let mut own = 0;
    let rules = draws.list(NAMES.len(), 2, |draws| {
        let mut rule = rule(draws, (*names.next().unwrap()).to_owned());
        if draws.one_in(3) {
            rule.exemptions = draws.list(2, 1, |draws| {
                own += 1;
                exemption(draws, format!("own{own}"), &[])
            });
        }
        rule
    });
    let names: Vec<_> = rules.iter().map(|rule| rule.name.clone()).collect();
    let mut number = 10;
    Document {
        rules,
        exemptions: draws.list(3, 1, |draws| {
            number -= 1;
            exemption(draws, format!("e{number}"), &names)
        }),
        deny_overrides: draws.one_in(2),
        allowed_images: draws.maybe(20, |draws| draws.some(&PATTERNS)).unwrap_or_default(),
        break_glass: break_glass(draws, &names),
    }
}

fn rule(draws: &mut Draws, name: String) -> Rule {
    let limits = [limits(draws, 2), limits(draws, 4), limits(draws, 4)];
    let has_limits = limits.iter().flatten().any(Option::is_some);
    Rule {
        name,
        enabled: !draws.one_in(10),
        action: draws.pick(&[Action::Audit, Action::Deny]),
        scope: if draws.one_in(3) { scope(draws) } else { Scope::default() },
        limits,
        count: if has_limits && draws.one_in(2) { count(draws) } else { Count::default() },
        forbidden: draws.list(2, 1, |draws| draws.pick(&IDS)),
        allowed: draws.list(2, 1, |draws| (draws.pick(&IDS), draws.maybe(2, when))),
        allowed_images: draws.maybe(8, |draws| draws.some(&PATTERNS)).unwrap_or_default(),
        trusted_images: draws.maybe(6, |draws| draws.some(&PATTERNS)),
        exemptions: Vec::new(),
        block_unscanned: draws.one_in(2),
        max_age_hours: draws.maybe(3, |draws| draws.pick(&[1, 5, 40])),
        on_unavailable: draws.pick(&[Action::Audit, Action::Allow, Action::Deny]),
        unsupported: draws.maybe(10, |draws| draws.some(&UNSUPPORTED)).unwrap_or_default(),
    }
}

/// Limits of some levels, once in `times`.
fn limits(draws: &mut Draws, times: usize) -> [Option<u32>; 5] {
    if !draws.one_in(times) {
        return [None; 5];
    }
    let most = u32::try_from(TOP_FINDINGS).unwrap();
    [(); 5].map(|()| draws.maybe(3, |draws| draws.pick(&[0, 1, 2, 3, most - 1, most, most + 1])))
}

fn count(draws: &mut Draws) -> Count {
    Count {
        fix_available: draws.maybe(4, |draws| draws.one_in(2)),
        min_cvss: draws.maybe(4, |draws| draws.pick(&[4.5, 7.0])),
        packages: draws.maybe(5, |draws| draws.some(&PACKAGES)).unwrap_or_default(),
        not_packages: draws.maybe(5, |draws| draws.some(&PACKAGES)).unwrap_or_default(),
        known_exploited: draws.one_in(6),
        min_epss: draws.maybe(5, |draws| draws.pick(&[0.0, 0.1, 0.9])),
        min_published_hours: draws.maybe(3, |draws| draws.pick(&AGES)),
        min_first_seen_hours: draws.maybe(4, |draws| draws.pick(&AGES)),
        ignores_not_stated: draws.one_in(2),
    }
}

fn when(draws: &mut Draws) -> When {
    let instant = NOW + hours(draws.pick(&[0, -1, 3, -48, 48]));
    match draws.below(3) {
        0 => When::Day(instant.date()),
        1 => When::At(instant),
        _ => When::At(instant + time::Duration::NANOSECOND),
    }
}

pub(super) fn exemption(draws: &mut Draws, name: String, rules: &[String]) -> Exemption {
    let from = draws.maybe(3, when);
    // It ends after it begins.
    let until = draws.maybe(3, when);
    let until = until.filter(|until| from.is_none_or(|from| from.begins() < until.is_over()));
    let mut matchers = vec![exempt(draws)];
    matchers.extend(draws.list(2, 1, exempt));
    Exemption {
        name,
        rules: named(draws, rules),
        matchers,
        from,
        until,
        until_fixed: draws.one_in(4),
        ticket: draws.maybe(3, |_| "SEC-1"),
    }
}

/// Some of the rules; `None` for all.
fn named(draws: &mut Draws, rules: &[String]) -> Option<Vec<String>> {
    if rules.is_empty() || !draws.one_in(3) {
        return None;
    }
    let mut named = draws.some(rules);
    named.sort();
    named.dedup();
    Some(named)
}

/// A matcher of an exemption.
fn exempt(draws: &mut Draws) -> Matcher {
    let field = draws.pick(&[
        "vulnerability",
        "vulnerability",
        "vulnerability",
        "image",
        "repository",
        "registry",
        "namespace",
        "pod",
        "workload",
        "cluster",
    ]);
    matcher(draws, field, &["equals", "startsWith", "endsWith", "contains"])
}

fn break_glass(draws: &mut Draws, rules: &[String]) -> Vec<BreakGlass> {
    let mut number = 0;
    draws.list(3, 1, |draws| {
        number += 1;
        BreakGlass {
            name: format!("g{number}"),
            scope: if draws.one_in(2) { scope(draws) } else { Scope::default() },
            rules: named(draws, rules),
        }
    })
}

fn scope(draws: &mut Draws) -> Scope {
    let mut cloud = Vec::new();
    let fields: [(_, &[&str]); 3] =
        [("provider", &PROVIDERS[1..]), ("account", &ACCOUNTS[1..]), ("region", &REGIONS[1..])];
    for (name, values) in fields {
        cloud.extend(draws.maybe(8, |draws| (name, draws.some(values))));
    }
    let matchers = draws.list(2, 2, |draws| {
        let field = draws.pick(&[
            "namespace",
            "cluster",
            "workload",
            "pod",
            "serviceAccount",
            "container",
            "image",
            "registry",
            "repository",
        ]);
        matcher(draws, field, &["equals", "notEquals", "startsWith", "endsWith", "contains"])
    });
    let mut requirements = || draws.maybe(5, |draws| draws.list(2, 1, requirement));
    let pod_labels = requirements().unwrap_or_default();
    let namespace_labels = requirements().unwrap_or_default();
    Scope { cloud, matchers, pod_labels, namespace_labels }
}

fn requirement(draws: &mut Draws) -> Requirement {
    let operator = draws.pick(&["In", "NotIn", "Exists", "DoesNotExist"]);
    let values = if operator.ends_with("In") { draws.some(&LABELS) } else { Vec::new() };
    Requirement { key: draws.pick(&KEYS), operator, values }
}

fn matcher(draws: &mut Draws, field: &'static str, operators: &[&'static str]) -> Matcher {
    let operator = draws.pick(operators);
    let whole = operator.ends_with("quals");
    let among: &[&str] = match (field, operator) {
        ("vulnerability", _) if whole => &IDS,
        ("vulnerability", _) => &["CVE-", "cve-2024-000", "1", "-2", "GHSA", "g"],
        ("namespace", _) if whole => &NAMESPACES[1..],
        ("cluster", _) if whole => &CLUSTERS[1..],
        ("pod", _) if whole => &PODS[1..],
        ("serviceAccount", _) => &ACCOUNTS_OF_SERVICES[1..],
        ("container", _) => &CONTAINERS[1..],
        ("workload", _) if whole => &[
            "Deployment/web",
            "ReplicaSet/web-6d4b75cb6d",
            "StatefulSet/web",
            "DaemonSet/web",
            "Job/web-29000000",
            "CronJob/web",
            "Pod/web-0",
            "Deployment/db",
        ],
        ("workload", "startsWith") => &["Deployment/", "Deployment/w", "Stateful", "Pod/web-"],
        ("workload", _) => &["/web", "t/web", "db", "-6d4b75cb6d", "Set/"],
        ("namespace" | "cluster" | "pod", _) => &["web", "db", "-1", "-dev", "prod"],
        ("image", _) if operators.len() == 4 => {
            let own =
                ["", "linux/amd64", "linux/arm64", GHOST].map(|name| digest(name).to_string());
            let part = match operator {
                "startsWith" => 0..10,
                "endsWith" => 60..71,
                "contains" => 20..24,
                _ => 0..71,
            };
            let values = draws.some(&own).into_iter().map(|text| text[part.clone()].to_owned());
            return Matcher { field, operator, values: values.collect() };
        }
        ("image" | "repository", "endsWith") => &["app", "team/app", "/app", "-evil/app", "nginx"],
        ("image" | "repository", "contains") => &["team", "/app", "reg.io", "evil"],
        ("image", "startsWith") => {
            &[PREFIXES[0], PREFIXES[1], "reg.io/team/app:v", "nginx:l", PREFIXES[4]]
        }
        ("repository", "startsWith") => &PREFIXES,
        ("image", _) => &IMAGES,
        ("repository", _) => &REPOSITORIES,
        ("registry", "endsWith") => &["reg.io", ".reg.io", "io", ":5000"],
        ("registry", "contains") => &["reg", ".io", "docker"],
        _ => &REGISTRIES,
    };
    let values = draws.some(among).into_iter().map(str::to_owned).collect();
    Matcher { field, operator, values }
}
