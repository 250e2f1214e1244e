//! A scope or an exemption and a container that it is not about in, which matchers do not hold out.

use std::fmt;

use super::exemption::{Exemption, IdTest, TextTest};
use super::labels::{Operator, Requirement, Selector};
use super::scope::{Field, Matcher, Scope, Target, Test};
use crate::decide::{Context, printable};
use crate::findings::FindingRef;
use crate::image::Digest;

/// The most values of a matcher that are shown.
pub const MAX_SHOWN_VALUES: usize = 8;
/// The longest value that is shown, in bytes.
pub const MAX_SHOWN: usize = 256;

/// A matcher that does not hold, and why. All its texts are cut at [`MAX_SHOWN`] and have no control
/// characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What it looks at: a field of the context or the image, with the key for a label, `image_digest`
    /// or `vulnerability`.
    pub field: String,
    /// How it compares, as rule files have it.
    pub operator: &'static str,
    /// Its values, sorted, at most [`MAX_SHOWN_VALUES`].
    pub values: Vec<String>,
    /// How many values it has.
    pub values_total: usize,
    /// What there is instead; `None` where the label is absent.
    pub actual: Option<String>,
}

impl Mismatch {
    fn new<'v>(
        field: impl Into<String>,
        operator: &'static str,
        values: impl Iterator<Item = &'v str>,
        actual: Option<String>,
    ) -> Self {
        let mut values: Vec<&str> = values.collect();
        values.sort_unstable();
        Self {
            field: printable(&field.into(), MAX_SHOWN),
            operator,
            values_total: values.len(),
            values: values.iter().take(MAX_SHOWN_VALUES).map(|v| printable(v, MAX_SHOWN)).collect(),
            actual: actual.map(|actual| printable(&actual, MAX_SHOWN)),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.actual.as_deref() {
            None => write!(f, "`{}` is absent", self.field)?,
            Some("") => write!(f, "`{}` is empty", self.field)?,
            Some(actual) => write!(f, "`{}` is `{actual}`", self.field)?,
        }
        write!(f, ", asked is {}", self.operator)?;
        for (n, value) in self.values.iter().enumerate() {
            write!(f, "{} `{value}`", if n == 0 { "" } else { "," })?;
        }
        match self.values_total.saturating_sub(self.values.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// How many matchers hold, and those that do not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) held: usize,
    pub(crate) failed: Vec<Mismatch>,
}

impl Fit {
    fn add(&mut self, holds: bool, mismatch: impl FnOnce() -> Mismatch) {
        if holds {
            self.held += 1;
        } else {
            self.failed.push(mismatch());
        }
    }
}

impl Scope {
    /// Which of its matchers hold for `target`, which is in `ctx`: all of them, just where it covers
    /// the target.
    pub(crate) fn fit(&self, target: &Target<'_>, ctx: &Context) -> Fit {
        let mut fit = Fit::default();
        for matcher in &self.matchers {
            let actual = || Some(text(matcher.field, target, ctx));
            fit.add(matcher.matches(target), || matcher.mismatch(actual()));
        }
        for (field, selector) in &self.selectors {
            let labels = match field {
                Field::NamespaceLabels => &ctx.namespace_labels,
                _ => &ctx.pod_labels,
            };
            for requirement in &selector.requirements {
                let alone = Selector { requirements: vec![requirement.clone()] };
                let actual = labels.get(&requirement.key).cloned();
                fit.add(alone.selects(labels), || requirement.mismatch(*field, actual));
            }
        }
        fit
    }
}

impl Exemption {
    /// Which of its matchers of the container and the manifest hold.
    pub(crate) fn fit(&self, target: &Target<'_>, ctx: &Context, digests: &[Digest]) -> Fit {
        let mut fit = self.scope.fit(target, ctx);
        for test in &self.images {
            let mut names: Vec<_> = digests.iter().map(ToString::to_string).collect();
            names.dedup();
            let holds = names.iter().any(|name| test.fits(name));
            fit.add(holds, || test.mismatch("image_digest", names.join(", ")));
        }
        fit
    }

    /// Which of its matchers of vulnerabilities hold for `finding`.
    pub(crate) fn fit_finding(&self, finding: FindingRef<'_>) -> Fit {
        let mut fit = Fit::default();
        for test in &self.vulnerabilities {
            fit.add(test.fits(finding), || test.mismatch(finding));
        }
        fit
    }

    /// Whether it covers only some vulnerabilities.
    pub(crate) fn names_vulnerabilities(&self) -> bool {
        !self.vulnerabilities.is_empty()
    }

    /// The names of the rules that it is for; `None` for all.
    pub(crate) fn rules(&self) -> Option<&[std::sync::Arc<str>]> {
        self.rules.as_deref()
    }
}

/// What there is of `field`.
fn text(field: Field, target: &Target<'_>, ctx: &Context) -> String {
    let image = target.reference();
    match field {
        Field::Provider => ctx.provider.clone(),
        Field::Account => ctx.account.clone(),
        Field::Region => ctx.region.clone(),
        Field::Cluster => ctx.cluster.clone(),
        Field::Namespace => ctx.namespace.clone(),
        Field::Workload if ctx.workload_kind.is_empty() && ctx.workload.is_empty() => String::new(),
        Field::Workload => format!("{}/{}", ctx.workload_kind, ctx.workload),
        Field::Pod => ctx.pod.clone(),
        Field::ServiceAccount => ctx.service_account.clone(),
        Field::Container => ctx.container.clone(),
        Field::Image => image.to_string(),
        Field::Registry => image.registry().to_owned(),
        Field::Repository => image.name().to_owned(),
        Field::BreakGlass => ctx.break_glass.clone(),
        Field::NamespaceLabels | Field::PodLabels => String::new(),
    }
}

impl Matcher {
    fn mismatch(&self, actual: Option<String>) -> Mismatch {
        let field = self.field.as_str();
        let of = |operator, values: &mut dyn Iterator<Item = &str>| {
            Mismatch::new(field, operator, values, actual)
        };
        match &self.test {
            Test::Equals(values) => of("equals", &mut values.iter()),
            Test::NotEquals(values) => of("notEquals", &mut values.iter()),
            Test::StartsWith(values) => of("startsWith", &mut values.iter().map(|v| &**v)),
            Test::Within(values) => {
                of("startsWith", &mut values.iter().map(super::prefix::Prefix::as_str))
            }
            Test::EndsWith(values) => of("endsWith", &mut values.iter().map(|v| &**v)),
            Test::Contains(values) => of("contains", &mut values.iter().map(|v| &**v)),
        }
    }
}

impl Requirement {
    fn mismatch(&self, field: Field, actual: Option<String>) -> Mismatch {
        let operator = match self.operator {
            Operator::In => "In",
            Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
        };
        let field = format!("{}[{}]", field.as_str(), self.key);
        Mismatch::new(field, operator, self.values.iter().map(String::as_str), actual)
    }
}

impl TextTest {
    fn mismatch(&self, field: &str, actual: String) -> Mismatch {
        let (operator, values) = match self {
            Self::Equals(values) => ("equals", values),
            Self::StartsWith(values) => ("startsWith", values),
            Self::EndsWith(values) => ("endsWith", values),
            Self::Contains(values) => ("contains", values),
        };
        Mismatch::new(field, operator, values.iter().map(|v| &**v), Some(actual))
    }
}

impl IdTest {
    fn mismatch(&self, finding: FindingRef<'_>) -> Mismatch {
        let names = finding.ids().collect::<Vec<_>>().join(", ");
        match self {
            Self::Equals(values) => {
                let values = values.iter().map(|(_, id)| &**id);
                Mismatch::new("vulnerability", "equals", values, Some(names))
            }
            Self::Text(test) => test.mismatch("vulnerability", names),
        }
    }
}
