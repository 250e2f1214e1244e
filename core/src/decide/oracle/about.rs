//! Scopes, matchers and patterns in, whether they are about a container out.
#![expect(clippy::string_slice, reason = "all that is drawn is ASCII")]

use std::collections::BTreeMap;

use super::case::Case;
use super::lineage::workloads;
use super::spec::{Matcher, Requirement, Scope};
use crate::image::Reference;

/// Whether what is for `rules`, or for all of them, is for this one.
pub(super) fn is_for(rules: Option<&[String]>, rule: &str) -> bool {
    rules.is_none_or(|rules| rules.iter().any(|name| name == rule))
}

/// Values of one matcher are OR-ed, matchers AND-ed; no matcher is everything.
pub(super) fn is_in(scope: &Scope, case: &Case) -> bool {
    let cloud = scope.cloud.iter().all(|(name, values)| {
        let own = match *name {
            "provider" => &case.ctx.provider,
            "account" => &case.ctx.account,
            _ => &case.ctx.region,
        };
        values.contains(&own.as_str())
    });
    cloud
        && scope.matchers.iter().all(|matcher| matches(matcher, case))
        && scope.pod_labels.iter().all(|r| selects(r, &case.ctx.pod_labels))
        && scope.namespace_labels.iter().all(|r| selects(r, &case.ctx.namespace_labels))
}

/// As Kubernetes selects.
fn selects(requirement: &Requirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(requirement.key);
    let listed = value.is_some_and(|value| requirement.values.contains(&value.as_str()));
    match requirement.operator {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        _ => value.is_none(),
    }
}

/// What permits is not taken by the tag beside a digest: the image must fit without it, or be named
/// whole.
pub(super) fn is_surely_in(scope: &Scope, case: &Case) -> bool {
    let certain = |matcher: &Matcher| {
        let (certain, _) = texts(matcher.field, case);
        match (matcher.field, matcher.operator) {
            ("image", "equals") => certain.iter().any(|text| has(matcher, text)),
            ("image", "startsWith" | "endsWith" | "contains") => {
                has(matcher, certain.last().unwrap())
            }
            _ => true,
        }
    };
    is_in(scope, case) && scope.matchers.iter().all(certain)
}

fn has(matcher: &Matcher, text: &str) -> bool {
    let Matcher { field, operator, values } = matcher;
    values.iter().any(|value| match (*operator, *field) {
        ("equals" | "notEquals", "image" | "repository") => text == normal(field, value),
        ("equals" | "notEquals", _) | ("startsWith", "registry") => text == *value,
        ("startsWith", "image" | "repository") => begins(text, value),
        ("startsWith", _) => text.starts_with(value),
        ("endsWith", _) => ends(field, text, value),
        _ => text.contains(value),
    })
}

pub(super) fn matches(matcher: &Matcher, case: &Case) -> bool {
    let Matcher { field, operator, .. } = matcher;
    let fits = |text: &String| has(matcher, text);
    let (certain, claimed) = texts(field, case);
    if *operator == "notEquals" {
        !certain.iter().any(fits)
    } else {
        certain.iter().chain(&claimed).any(fits)
    }
}

/// What a field is: for certain, and by what is only claimed. Beside a digest, a tag takes an image
/// into the scope of a rule, and out of none.
fn texts(field: &str, case: &Case) -> (Vec<String>, Vec<String>) {
    let (image, ctx) = (&case.image, &case.ctx);
    let text = match field {
        "cluster" => ctx.cluster.clone(),
        "namespace" => ctx.namespace.clone(),
        "workload" => return (workloads(ctx), Vec::new()),
        "pod" => ctx.pod.clone(),
        "serviceAccount" => ctx.service_account.clone(),
        "container" => ctx.container.clone(),
        "registry" => image.registry().to_owned(),
        "repository" => image.name().to_owned(),
        _ => {
            let (name, whole) = (image.name(), image.to_string());
            return match (image.tag(), image.digest()) {
                (Some(tag), Some(digest)) => {
                    (vec![whole, format!("{name}@{digest}")], vec![format!("{name}:{tag}")])
                }
                _ => (vec![whole], Vec::new()),
            };
        }
    };
    (vec![text], Vec::new())
}

/// A whole name as containerd spells it.
fn normal(field: &str, value: &str) -> String {
    let reference: Reference = value.parse().unwrap();
    if field == "image" { reference.to_string() } else { reference.name().to_owned() }
}

/// Whether a name begins with a host, a path or a tag, on path boundaries.
pub(super) fn begins(name: &str, value: &str) -> bool {
    // A name without a host is one of Docker Hub.
    let own;
    let value = if value.contains(['/', '.']) {
        value
    } else {
        own = format!("docker.io/library/{value}");
        &own
    };
    let is_host = !value.contains('/');
    let has_tag = !is_host && value.rsplit('/').next().unwrap().contains([':', '@']);
    let boundaries: &[&str] = match () {
        () if value.ends_with('/') || has_tag => &[""],
        () if is_host => &["/"],
        () => &["/", ":", "@"],
    };
    let whole = !is_host && name == value;
    whole || boundaries.iter().any(|boundary| name.starts_with(&format!("{value}{boundary}")))
}

/// Whether a text ends so, for names on boundaries of their parts.
fn ends(field: &str, text: &str, value: &str) -> bool {
    let boundaries: &[&str] = match field {
        _ if value.starts_with(['/', ':', '.', '@', '-']) => &[""],
        "registry" => &["."],
        "image" | "repository" => &["/", ":", "@"],
        _ => &[""],
    };
    text == value || boundaries.iter().any(|boundary| text.ends_with(&format!("{boundary}{value}")))
}

/// Whether an image fits a pattern for certain: its name, or with a tag or a digest where the pattern
/// names one. Beside a digest, a tag is only claimed.
pub(super) fn fits(pattern: &str, image: &Reference) -> bool {
    let name = image.name();
    let path = pattern.split_once('/').unwrap().1;
    match (path.contains('@'), path.contains(':'), image.tag(), image.digest()) {
        (true, _, _, Some(digest)) => glob(pattern, &format!("{name}@{digest}")),
        (false, true, Some(tag), None) => glob(pattern, &format!("{name}:{tag}")),
        (false, false, ..) => glob(pattern, name),
        _ => false,
    }
}

/// `*` is any characters within a segment of a path, `**` any at all.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("**") {
        return (0..=text.len()).any(|end| glob(rest, &text[end..]));
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        let segment = text.find('/').unwrap_or(text.len());
        return (0..=segment).any(|end| glob(rest, &text[end..]));
    }
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some(own), Some(other)) => own == other && glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}
