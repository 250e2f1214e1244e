//! Rules as the oracle reads them, and as documents.

use std::fmt::Write;

use time::OffsetDateTime;

use super::{HOUR, LEVELS, after, in_team, rfc3339};
use crate::decide::Action;
use crate::findings::Finding;
use crate::policy::{self, Policy};

/// A rule as the oracle reads it.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) enabled: bool,
    pub(super) action: Action,
    /// Whether the namespace must be, or must not be, one of these.
    pub(super) namespace: Option<(bool, Vec<&'static str>)>,
    pub(super) team_only: bool,
    pub(super) max_allowed: [Option<u32>; 5],
    pub(super) forbidden: Vec<&'static str>,
    /// With the hours from now until which it is allowed.
    pub(super) allowed: Vec<(&'static str, Option<i64>)>,
    pub(super) block_unscanned: bool,
    pub(super) max_age_hours: Option<i64>,
    pub(super) on_unavailable: Action,
    pub(super) unsupported_team: bool,
}

impl Spec {
    fn yaml(&self, name: &str) -> String {
        let mut text = format!(
            "  - name: {name}\n    enabled: {}\n    action: {}\n    blockUnscannedImages: {}\n    \
             onUnavailable: {}\n    forbiddenVulnerabilities: {:?}\n",
            self.enabled,
            self.action.as_str(),
            self.block_unscanned,
            self.on_unavailable.as_str(),
            self.forbidden,
        );
        let allowed = self.allowed.iter().map(|(id, hours)| match hours {
            Some(hours) => format!("{{id: {id}, until: '{}'}}", rfc3339(after(*hours * HOUR))),
            None => (*id).to_owned(),
        });
        let allowed = allowed.collect::<Vec<_>>().join(", ");
        writeln!(text, "    allowedVulnerabilities: [{allowed}]").unwrap();
        let limits = LEVELS.iter().zip(self.max_allowed);
        let limits: Vec<_> = limits.filter_map(|(l, n)| n.map(|n| format!("{l}: {n}"))).collect();
        if !limits.is_empty() {
            writeln!(text, "    maxAllowed: {{{}}}", limits.join(", ")).unwrap();
        }
        if let Some(hours) = self.max_age_hours {
            writeln!(text, "    maxFindingsAge: {hours}h").unwrap();
        }
        if self.unsupported_team {
            writeln!(text, "    unsupportedRegistries: [reg.io/team]").unwrap();
        }
        writeln!(text, "    scope:\n      match:").unwrap();
        if let Some((is, names)) = &self.namespace {
            let operator = if *is { "equals" } else { "notEquals" };
            writeln!(
                text,
                "        - {{field: namespace, operator: {operator}, values: {names:?}}}"
            )
            .unwrap();
        }
        if self.team_only {
            let values = "{field: image, operator: startsWith, values: [reg.io/team]}";
            writeln!(text, "        - {values}").unwrap();
        }
        if text.ends_with("match:\n") {
            text = text.replace("    scope:\n      match:\n", "");
        }
        text
    }

    pub(super) fn is_about(&self, image: &str, namespace: &str) -> bool {
        let namespace = match &self.namespace {
            Some((is, names)) => names.contains(&namespace) == *is,
            None => true,
        };
        self.enabled && namespace && (!self.team_only || in_team(image))
    }

    pub(super) fn allows(&self, finding: &Finding, now: OffsetDateTime) -> bool {
        self.allowed.iter().any(|(id, hours)| {
            super::is(finding, id) && hours.is_none_or(|hours| now < after(hours * HOUR))
        })
    }
}

pub(super) fn compiled(specs: &[(String, Spec)], deny_overrides: bool) -> Policy {
    let rules: String = specs.iter().map(|(name, spec)| spec.yaml(name)).collect();
    let rules = if rules.is_empty() { " []".to_owned() } else { format!("\n{rules}") };
    let evaluation = if deny_overrides { "denyOverrides" } else { "firstMatch" };
    let text = format!(
        "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  evaluation: {evaluation}\n  \
         rules:{rules}"
    );
    policy::parse(&[policy::Source { file: "oracle".to_owned(), text }]).unwrap()
}
