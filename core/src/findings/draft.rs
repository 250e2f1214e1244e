//! A finding as a format states it in, one checked `Finding` out.

use time::OffsetDateTime;

use super::rating::Ratings;
use super::{
    Analysis, Epss, Finding, FindingsError, FixState, MAX_ID, MAX_LIST, MAX_REPEATED, MAX_TEXT,
    Severity, bounded,
};

/// How much text was read again for each of a report's findings, so far.
#[derive(Debug, Default)]
pub(super) struct Repeated(usize);

impl Repeated {
    /// Counts `bytes` before they are read or copied.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), FindingsError> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 > MAX_REPEATED {
            let what = "bytes of text that findings share";
            return Err(FindingsError::TooLarge { what, limit: MAX_REPEATED });
        }
        Ok(())
    }
}

/// A finding as a format states it: nothing is trimmed, bounded or derived yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) id: Option<String>,
    pub(super) aliases: Vec<String>,
    pub(super) ratings: Ratings,
    pub(super) package: Option<String>,
    pub(super) purl: Option<String>,
    pub(super) installed: Option<String>,
    /// Each may be a list with commas, as Trivy writes it: `25.0.2, 24.0.9`.
    pub(super) fixed: Vec<String>,
    pub(super) fix_state: FixState,
    pub(super) known_exploited: Option<bool>,
    pub(super) epss: Option<Epss>,
    pub(super) published: Option<OffsetDateTime>,
    pub(super) first_seen: Option<OffsetDateTime>,
    pub(super) analysis: Analysis,
}

impl Draft {
    /// Checks the bounds and brings everything into its normal form.
    ///
    /// A stated fixed version means that there is a fix, whatever the state says.
    pub(super) fn finish(self) -> Result<Finding, FindingsError> {
        let stated = identifier(self.id.as_deref().unwrap_or_default())?
            .ok_or(FindingsError::Missing("vulnerability identifier"))?;
        let id = without_suffix(stated).unwrap_or(stated);
        let fixed = versions(&self.fixed)?;
        Ok(Finding {
            id: id.into(),
            aliases: aliases(id, stated, &self.aliases)?,
            severity: self.ratings.severity(),
            score: self.ratings.highest(),
            package: text("bytes of package name", self.package)?,
            purl: text("bytes of package URL", self.purl)?,
            installed: text("bytes of installed version", self.installed)?,
            fix_state: if fixed.is_empty() { self.fix_state } else { FixState::Fixed },
            fixed,
            known_exploited: self.known_exploited,
            epss: self.epss,
            published: self.published.map(whole_seconds),
            first_seen: self.first_seen.map(whole_seconds),
            analysis: self.analysis,
        })
    }
}

/// Dates are kept in whole seconds, in UTC.
fn whole_seconds(at: OffsetDateTime) -> OffsetDateTime {
    let at = at.checked_to_offset(time::UtcOffset::UTC).unwrap_or(at);
    at.replace_nanosecond(0).unwrap_or(at)
}

/// An identifier without the space around it; `None` if nothing is left.
fn identifier(id: &str) -> Result<Option<&str>, FindingsError> {
    let id = bounded("bytes of vulnerability identifier", id, MAX_ID)?;
    // It is printed in denials and logs, and compared by people.
    if id.contains(char::is_control) {
        return Err(FindingsError::Id(id.to_owned()));
    }
    Ok(Some(id).filter(|id| !id.is_empty()))
}

/// The identifier without the package that Grype appends to it: `CVE-2022-48174-busybox`. `None` if
/// there is no such suffix.
fn without_suffix(id: &str) -> Option<&str> {
    let (scheme, rest) = id.split_once('-')?;
    let digits = |p: &str| p.len() >= 4 && p.bytes().all(|b| b.is_ascii_digit());
    let code = |p: &&str| p.len() == 4 && p.bytes().all(|b| b.is_ascii_alphanumeric());
    let parts: Vec<&str> = rest.split('-').collect();
    let length = match (scheme.to_ascii_uppercase().as_str(), parts.as_slice()) {
        ("CVE", [year, number, _, ..]) if digits(year) && digits(number) => {
            year.len() + 1 + number.len()
        }
        ("GHSA", [a, b, c, _, ..]) if [a, b, c].into_iter().all(code) => 14,
        _ => return None,
    };
    id.get(..scheme.len() + 1 + length)
}

/// All other names of `id`, each once whatever its case, in an order that does not depend on the
/// report's.
fn aliases(id: &str, stated: &str, others: &[String]) -> Result<Vec<Box<str>>, FindingsError> {
    let mut list: Vec<&str> = vec![stated];
    for other in others {
        list.extend(identifier(other)?);
    }
    list.retain(|alias| !alias.eq_ignore_ascii_case(id));
    list.sort_by_cached_key(|alias| (alias.to_ascii_uppercase(), *alias));
    list.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    if list.len() > MAX_LIST {
        return Err(FindingsError::TooLarge { what: "aliases of one finding", limit: MAX_LIST });
    }
    // Not collected in place, which would keep the room of what was dropped.
    let mut aliases = Vec::with_capacity(list.len());
    aliases.extend(list.into_iter().map(Box::from));
    Ok(aliases)
}

/// The versions in `lists`, each once, in the order of the report.
fn versions(lists: &[String]) -> Result<Vec<Box<str>>, FindingsError> {
    let mut versions: Vec<Box<str>> = Vec::new();
    for version in lists.iter().flat_map(|list| list.split(',')) {
        let version = bounded("bytes of fixed version", version, MAX_TEXT)?;
        if version.is_empty() || versions.iter().any(|v| **v == *version) {
            continue;
        }
        if versions.len() == MAX_LIST {
            return Err(FindingsError::TooLarge {
                what: "fixed versions of one finding",
                limit: MAX_LIST,
            });
        }
        versions.push(version.into());
    }
    versions.shrink_to_fit();
    Ok(versions)
}

/// A text within its bound; an empty one is not stated.
fn text(what: &'static str, text: Option<String>) -> Result<Option<Box<str>>, FindingsError> {
    let text = text.unwrap_or_default();
    let text = bounded(what, &text, MAX_TEXT)?;
    Ok(Some(text).filter(|t| !t.is_empty()).map(Into::into))
}

impl Finding {
    /// The same as a report's reader would have it: without a scanner's suffix at its identifier,
    /// each alias once, times in whole seconds, everything within its bound. A fixed version means
    /// that there is a fix. The severity is the stated one, or where it is unknown that of the score.
    pub(crate) fn normal(self) -> Result<Self, FindingsError> {
        let severity = match (self.severity, self.score) {
            (Severity::Unknown, Some(score)) => score.severity(),
            (severity, _) => severity,
        };
        let owned = |text: Box<str>| text.into_string();
        let draft = Draft {
            id: Some(owned(self.id)),
            aliases: self.aliases.into_iter().map(owned).collect(),
            package: self.package.map(owned),
            purl: self.purl.map(owned),
            installed: self.installed.map(owned),
            fixed: self.fixed.into_iter().map(owned).collect(),
            fix_state: self.fix_state,
            known_exploited: self.known_exploited,
            epss: self.epss,
            published: self.published,
            first_seen: self.first_seen,
            analysis: self.analysis,
            ..Draft::default()
        };
        Ok(Self { severity, score: self.score, ..draft.finish()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_findings_share_is_counted_up_to_its_bound() {
        let mut repeated = Repeated::default();
        assert!(repeated.add(MAX_REPEATED - 1).is_ok());
        assert!(repeated.add(1).is_ok());
        assert!(matches!(repeated.add(1), Err(FindingsError::TooLarge { .. })));
        assert!(Repeated::default().add(MAX_REPEATED + 1).is_err());
    }
}
