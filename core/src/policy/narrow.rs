//! A finding and a time in, whether a rule's limits look at it out.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use time::OffsetDateTime;

use super::glob::Glob;
use crate::findings::{Epss, FindingRef, FixState, Score, Severity};

/// Which findings the limits of a rule look at. Everything that is named must hold; nothing named
/// looks at all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Narrowing {
    /// Whether a fix must be there (`true`) or must not.
    pub(crate) fix_available: Option<bool>,
    /// The CVSS score is at least this.
    pub(crate) min_cvss: Option<Score>,
    /// The package URL fits one of these.
    pub(crate) packages: Vec<Glob>,
    /// The package URL fits none of these.
    pub(crate) not_packages: Vec<Glob>,
    /// It is known to be exploited, where this is `true`.
    pub(crate) known_exploited: bool,
    /// The probability of exploitation is at least this.
    pub(crate) min_epss: Option<Epss>,
    /// It was published at least so long ago.
    pub(crate) min_published_age: Option<Duration>,
    /// A scanner first saw it at least so long ago.
    pub(crate) min_first_seen_age: Option<Duration>,
    /// What becomes of a finding that does not state what is asked.
    pub(crate) not_stated: NotStated,
}

/// What becomes of a finding that does not state what a rule asks about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum NotStated {
    /// It counts: it could be any.
    #[default]
    Count,
    /// It does not count.
    Ignore,
}

impl Eq for Narrowing {}

impl Hash for Narrowing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            fix_available,
            min_cvss,
            packages,
            not_packages,
            known_exploited,
            min_epss,
            min_published_age,
            min_first_seen_age,
            not_stated,
        } = self;
        (fix_available, min_cvss, packages, not_packages).hash(state);
        (known_exploited, min_epss.map(|epss| epss.as_f32().to_bits())).hash(state);
        (min_published_age, min_first_seen_age, not_stated).hash(state);
    }
}

impl Narrowing {
    /// Whether it looks at all findings.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self { not_stated: self.not_stated, ..Self::default() }
    }

    /// Whether the limits look at `finding` at `now`. `boundary` is told every instant at which that
    /// alone could change.
    pub(crate) fn counts(
        &self,
        finding: FindingRef<'_>,
        now: OffsetDateTime,
        mut boundary: impl FnMut(OffsetDateTime),
    ) -> bool {
        let not_stated = self.not_stated == NotStated::Count;
        let at_least = |holds: Option<bool>| holds.unwrap_or(not_stated);
        let stated = self.fix_available.is_none_or(|wanted| {
            at_least(match finding.fix_state() {
                FixState::NotStated => None,
                state => Some((state == FixState::Fixed) == wanted),
            })
        }) && self
            .min_cvss
            .is_none_or(|min| at_least(finding.score().map(|score| score >= min)))
            && (self.packages.is_empty() || at_least(fits(&self.packages, finding)))
            && (self.not_packages.is_empty()
                || at_least(fits(&self.not_packages, finding).map(|fits| !fits)))
            && (!self.known_exploited || at_least(finding.known_exploited()))
            && self.min_epss.is_none_or(|min| at_least(finding.epss().map(|epss| epss >= min)));
        if !stated {
            return false;
        }
        let mut old = |age: Option<Duration>, since: Option<OffsetDateTime>| {
            age.is_none_or(|age| {
                at_least(since.map(|since| {
                    // A time that cannot be written down never comes.
                    let age = time::Duration::try_from(age).ok();
                    age.and_then(|age| since.checked_add(age)).is_some_and(|from| {
                        boundary(from);
                        from <= now
                    })
                }))
            })
        };
        let published = old(self.min_published_age, finding.published());
        let seen = old(self.min_first_seen_age, finding.first_seen());
        published && seen
    }
}

/// Whether the package URL of `finding` fits one of `globs`; `None` where it has none. Versions,
/// qualifiers and the subpath are not compared, and neither is case; an npm scope is spelled `%40`, as
/// the specification of package URLs has it.
fn fits(globs: &[Glob], finding: FindingRef<'_>) -> Option<bool> {
    let name = name(finding.purl()?)?;
    Some(globs.iter().any(|glob| glob.matches(&name)))
}

fn name(purl: &str) -> Option<String> {
    Some(purl.get(..name_end(purl))?.to_ascii_lowercase().replace("/@", "/%40"))
}

/// Where the name in a package URL ends, in bytes. Some write the `@` of an npm scope as it is, which
/// begins a segment and so is not that of a version.
fn name_end(purl: &str) -> usize {
    let end = purl.find(['?', '#']).unwrap_or(purl.len());
    let mut signs = purl.match_indices('@').map(|(at, _)| at).take_while(|at| *at < end);
    let is_version =
        |at: &usize| purl.as_bytes().get(at.wrapping_sub(1)).is_none_or(|byte| *byte != b'/');
    signs.find(is_version).unwrap_or(end)
}

/// Which findings one limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Population {
    /// All (`maxAllowed`).
    All,
    /// Those with a fix, and those of which it is not stated (`maxAllowedFixable`).
    Fixable,
    /// Those without a fix, and those of which it is not stated (`maxAllowedUnfixable`).
    Unfixable,
}

impl Population {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::All, Self::Fixable, Self::Unfixable];

    /// Whether a finding of this `state` is one of them.
    #[must_use]
    pub const fn has(self, state: FixState) -> bool {
        match (self, state) {
            (Self::All, _) | (_, FixState::NotStated) => true,
            (Self::Fixable, state) => matches!(state, FixState::Fixed),
            (Self::Unfixable, state) => !matches!(state, FixState::Fixed),
        }
    }
}

/// How many findings of a level or higher are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) population: Population,
    /// For [`Severity::Unknown`], only those of unknown severity.
    pub(crate) level: Severity,
    pub(crate) max: u32,
}

impl Limit {
    /// Whether it is about findings of this severity and fix state, where its rule has a limit of
    /// the same population on unknown severities (`names_unknown`) or not: without one, they count
    /// at each level (CASES T032).
    pub(crate) fn is_about(
        self,
        names_unknown: bool,
        severity: Severity,
        fix_state: FixState,
    ) -> bool {
        self.population.has(fix_state)
            && match (self.level, severity) {
                (Severity::Unknown, severity) => severity == Severity::Unknown,
                (_, Severity::Unknown) => !names_unknown,
                (level, severity) => severity >= level,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn an_at_sign_that_begins_a_scope_is_not_that_of_a_version_and_is_spelled_one_way() {
        for (purl, expected) in [
            ("pkg:npm/@angular/core@1.2", "pkg:npm/%40angular/core"),
            ("pkg:npm/@angular/core", "pkg:npm/%40angular/core"),
            ("pkg:npm/%40angular/core@1/2", "pkg:npm/%40angular/core"),
            ("pkg:deb/debian/curl?arch=a@b", "pkg:deb/debian/curl"),
        ] {
            assert_eq!(name(purl).as_deref(), Some(expected), "{purl}");
        }
    }
}
