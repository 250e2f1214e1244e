//! A policy in, its document out.

use super::LEVELS;
use super::spec::{
    BreakGlass, Count, Document, Exemption, Matcher, Requirement, Rule, Scope, When,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The names of the limits, as in [`Rule::limits`].
const LIMITS: [&str; 3] = ["maxAllowed", "maxAllowedFixable", "maxAllowedUnfixable"];

pub(super) fn document(document: &Document) -> String {
    let mut lines = vec![
        "apiVersion: portcullis.dev/v1".to_owned(),
        "kind: Policy".to_owned(),
        "spec:".to_owned(),
    ];
    if document.deny_overrides {
        lines.push("  evaluation: denyOverrides".to_owned());
    }
    if !document.allowed_images.is_empty() {
        lines.push(format!("  allowedImages: {:?}", document.allowed_images));
    }
    let mut list = |name: &str, items: Vec<String>| {
        if !items.is_empty() {
            lines.push(format!("  {name}:"));
            lines.extend(items.into_iter().map(|item| format!("  - {item}")));
        }
    };
    list("breakGlass", document.break_glass.iter().map(break_glass).collect());
    list("exemptions", document.exemptions.iter().map(exemption).collect());
    list("rules", document.rules.iter().map(rule).collect());
    if document.rules.is_empty() {
        lines.push("  rules: []".to_owned());
    }
    lines.join("\n") + "\n"
}

pub(super) fn rfc3339(instant: OffsetDateTime) -> String {
    instant.format(&Rfc3339).unwrap()
}

fn map(entries: impl IntoIterator<Item = Option<String>>) -> String {
    format!("{{{}}}", entries.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn list<T>(items: &[T], item: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(", "))
}

fn rule(rule: &Rule) -> String {
    let mut lines = vec![
        Some(format!("name: {}", rule.name)),
        (!rule.enabled).then(|| "enabled: false".to_owned()),
        Some(format!("action: {}", rule.action.as_str())),
        scope(&rule.scope),
    ];
    for (name, limits) in LIMITS.iter().zip(rule.limits) {
        let levels = LEVELS.iter().zip(limits).map(|(l, n)| n.map(|n| format!("{l}: {n}")));
        lines.push(limits.iter().any(Option::is_some).then(|| format!("{name}: {}", map(levels))));
    }
    let allowed = |(id, until): &(&str, Option<When>)| match until {
        Some(until) => format!("{{id: {id}, until: {}}}", when(*until)),
        None => (*id).to_owned(),
    };
    let texts =
        |name: &str, texts: &[&str]| (!texts.is_empty()).then(|| format!("{name}: {texts:?}"));
    lines.extend([
        count(&rule.count),
        texts("forbiddenVulnerabilities", &rule.forbidden),
        (!rule.allowed.is_empty())
            .then(|| format!("allowedVulnerabilities: {}", list(&rule.allowed, allowed))),
        texts("allowedImages", &rule.allowed_images),
        rule.trusted_images.as_ref().map(|images| format!("trustedImages: {images:?}")),
        (!rule.exemptions.is_empty())
            .then(|| format!("exemptions: {}", list(&rule.exemptions, exemption))),
        rule.block_unscanned.then(|| "blockUnscannedImages: true".to_owned()),
        rule.max_age_hours.map(|hours| format!("maxFindingsAge: {hours}h")),
        // Always, so that there is no rule without a condition.
        Some(format!("onUnavailable: {}", rule.on_unavailable.as_str())),
        texts("unsupportedRegistries", &rule.unsupported),
    ]);
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n    ")
}

fn count(count: &Count) -> Option<String> {
    let Count { packages, not_packages, .. } = count;
    let entries = [
        count.fix_available.map(|fix| format!("fixAvailable: {fix}")),
        count.min_cvss.map(|score| format!("minCvss: {score:?}")),
        (!packages.is_empty()).then(|| format!("packages: {packages:?}")),
        (!not_packages.is_empty()).then(|| format!("notPackages: {not_packages:?}")),
        count.known_exploited.then(|| "knownExploited: true".to_owned()),
        count.min_epss.map(|epss| format!("minEpss: {epss:?}")),
        count.min_published_hours.map(|hours| format!("minPublishedAge: {hours}h")),
        count.min_first_seen_hours.map(|hours| format!("minFirstSeenAge: {hours}h")),
    ];
    let ignore = count.ignores_not_stated.then(|| "notStated: ignore".to_owned());
    let some = entries.iter().any(Option::is_some);
    some.then(|| format!("count: {}", map(entries.into_iter().chain([ignore]))))
}

fn exemption(exemption: &Exemption) -> String {
    map([
        Some(format!("name: {}", exemption.name)),
        exemption.rules.as_ref().map(|rules| format!("rules: {rules:?}")),
        Some(format!("match: {}", list(&exemption.matchers, matcher))),
        exemption.from.map(|from| format!("from: {}", when(from))),
        exemption.until.map(|until| format!("until: {}", when(until))),
        exemption.until_fixed.then(|| "untilFixed: true".to_owned()),
        Some("owner: team@example.com".to_owned()),
        Some("reason: known".to_owned()),
        exemption.ticket.map(|ticket| format!("ticket: {ticket}")),
    ])
}

fn break_glass(entry: &BreakGlass) -> String {
    map([
        Some(format!("name: {}", entry.name)),
        scope(&entry.scope),
        entry.rules.as_ref().map(|rules| format!("rules: {rules:?}")),
    ])
}

fn scope(scope: &Scope) -> Option<String> {
    let cloud = scope.cloud.iter().map(|(name, values)| Some(format!("{name}: {values:?}")));
    let labels = |name: &str, requirements: &[Requirement]| {
        let all = || format!("{name}: {{matchExpressions: {}}}", list(requirements, requirement));
        (!requirements.is_empty()).then(all)
    };
    let entries = [
        (!scope.cloud.is_empty()).then(|| format!("cloud: {}", map(cloud))),
        (!scope.matchers.is_empty()).then(|| format!("match: {}", list(&scope.matchers, matcher))),
        labels("podLabels", &scope.pod_labels),
        labels("namespaceLabels", &scope.namespace_labels),
    ];
    entries.iter().any(Option::is_some).then(|| format!("scope: {}", map(entries)))
}

fn matcher(matcher: &Matcher) -> String {
    let Matcher { field, operator, values } = matcher;
    format!("{{field: {field}, operator: {operator}, values: {values:?}}}")
}

fn requirement(requirement: &Requirement) -> String {
    let Requirement { key, operator, values } = requirement;
    let values = (!values.is_empty()).then(|| format!("values: {values:?}"));
    map([Some(format!("key: {key}")), Some(format!("operator: {operator}")), values])
}

fn when(when: When) -> String {
    match when {
        When::Day(date) => date.to_string(),
        When::At(instant) => format!("'{}'", rfc3339(instant)),
    }
}
