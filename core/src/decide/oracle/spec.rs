//! A policy as its documents state it.

use time::{Date, OffsetDateTime, Time};

use crate::decide::Action;

/// All that is written below `spec`.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    pub(super) deny_overrides: bool,
    pub(super) allowed_images: Vec<&'static str>,
    pub(super) break_glass: Vec<BreakGlass>,
    pub(super) exemptions: Vec<Exemption>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) enabled: bool,
    pub(super) action: Action,
    pub(super) scope: Scope,
    /// `maxAllowed`, `maxAllowedFixable` and `maxAllowedUnfixable`, each by level as in
    /// [`super::LEVELS`].
    pub(super) limits: [[Option<u32>; 5]; 3],
    pub(super) count: Count,
    pub(super) forbidden: Vec<&'static str>,
    pub(super) allowed: Vec<(&'static str, Option<When>)>,
    pub(super) allowed_images: Vec<&'static str>,
    pub(super) trusted_images: Option<Vec<&'static str>>,
    pub(super) exemptions: Vec<Exemption>,
    pub(super) block_unscanned: bool,
    pub(super) max_age_hours: Option<i64>,
    pub(super) on_unavailable: Action,
    pub(super) unsupported: Vec<&'static str>,
}

/// Which findings the limits look at.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    pub(super) fix_available: Option<bool>,
    pub(super) min_cvss: Option<f64>,
    pub(super) packages: Vec<&'static str>,
    pub(super) not_packages: Vec<&'static str>,
    pub(super) known_exploited: bool,
    pub(super) min_epss: Option<f64>,
    pub(super) min_published_hours: Option<i64>,
    pub(super) min_first_seen_hours: Option<i64>,
    /// Whether what is not stated is ignored.
    pub(super) ignores_not_stated: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Exemption {
    pub(super) name: String,
    pub(super) rules: Option<Vec<String>>,
    pub(super) matchers: Vec<Matcher>,
    pub(super) from: Option<When>,
    pub(super) until: Option<When>,
    pub(super) until_fixed: bool,
    pub(super) ticket: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct BreakGlass {
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) rules: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// `provider`, `account` or `region`, and which of them.
    pub(super) cloud: Vec<(&'static str, Vec<&'static str>)>,
    pub(super) matchers: Vec<Matcher>,
    pub(super) pod_labels: Vec<Requirement>,
    pub(super) namespace_labels: Vec<Requirement>,
}

#[derive(Debug, Clone)]
pub(super) struct Matcher {
    pub(super) field: &'static str,
    pub(super) operator: &'static str,
    pub(super) values: Vec<String>,
}

/// One of `matchExpressions`.
#[derive(Debug, Clone)]
pub(super) struct Requirement {
    pub(super) key: &'static str,
    pub(super) operator: &'static str,
    pub(super) values: Vec<&'static str>,
}

/// A time as it is written: a day of UTC, or an instant.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    Day(Date),
    At(OffsetDateTime),
}

impl When {
    /// The first instant of it.
    pub(super) fn begins(self) -> OffsetDateTime {
        match self {
            Self::Day(date) => date.with_time(Time::MIDNIGHT).assume_utc(),
            Self::At(instant) => instant,
        }
    }

    /// The first instant after it: a date as an end means the end of that day.
    pub(super) fn is_over(self) -> OffsetDateTime {
        match self {
            Self::Day(date) => Self::Day(date.next_day().unwrap()).begins(),
            Self::At(instant) => instant,
        }
    }
}
