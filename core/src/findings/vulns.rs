//! The predicate of in-toto vulns v0.1 and v0.2 in, its findings out.
//!
//! Fields as in `spec/predicates/vulns.md` and `vulns_02.md` of in-toto/attestation, in the shapes
//! that are seen: the body of a result directly in it or, as v0.1 has it, in its `vulnerability`;
//! `severity` and `annotations` as list or object; keys in snake case or camel case; and a scanner's
//! own document where the list of results should be.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::capped::Capped;
use super::draft::Draft;
use super::rating::Ratings;
use super::score::Score;
use super::{
    Analysis, Epss, Findings, FindingsError, FixState, MAX_FINDINGS, MAX_LIST, Scanner, content,
    grype, loose, part, time, trivy,
};

/// The scanners that are known by a short name in other formats, and their URIs in a predicate,
/// without version.
const URIS: [(&str, &str); 2] =
    [(trivy::NAME, "pkg:github/aquasecurity/trivy"), (grype::NAME, "pkg:github/anchore/grype")];

pub(super) fn read(predicate: &RawValue) -> Result<Findings, FindingsError> {
    let Predicate { scanner, metadata }: Predicate<'_> = part(predicate)?;
    let uri = scanner.uri.unwrap_or_default();
    let name = scanner_name(uri.trim());
    if name.is_empty() {
        return Err(FindingsError::Missing("predicate.scanner.uri"));
    }
    let finished = metadata.and_then(|m| m.scan_finished_on);
    let scanned_at = time("metadata.scanFinishedOn", finished.as_deref())?;
    // An empty list says that nothing was found; no list says nothing.
    let result = scanner.result.ok_or(FindingsError::Missing("predicate.scanner.result"))?;
    if result.get().starts_with('{') {
        return Ok(content::scan(result)?.finished_at(scanned_at));
    }
    let list = part::<Capped<Entry, MAX_FINDINGS>>(result)?
        .within("findings")?
        .into_iter()
        .map(|entry| entry.into_draft().finish())
        .collect::<Result<_, _>>()?;
    Ok(Findings::new(Scanner::new(name, scanner.version.as_deref())?, scanned_at, list))
}

/// The scanner that a URI names, whatever its version: a package URL may end in `@version`. Two
/// versions of a scanner are the same scanner, whose newest report counts.
pub(super) fn scanner_name(uri: &str) -> &str {
    let name = match uri.split_once('@') {
        Some((name, _)) if uri.starts_with("pkg:") => name,
        _ => uri,
    };
    URIS.iter().find(|(_, uri)| *uri == name).map_or(name, |(name, _)| name)
}

/// The URI of the scanner of that name.
pub(super) fn scanner_uri(name: &str) -> &str {
    URIS.iter().find(|(known, _)| *known == name).map_or(name, |(_, uri)| uri)
}

#[derive(Deserialize)]
struct Predicate<'a> {
    #[serde(borrow)]
    scanner: RawScanner<'a>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct RawScanner<'a> {
    uri: Option<String>,
    version: Option<String>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "scanFinishedOn", alias = "scan_finished_on")]
    scan_finished_on: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    id: Option<String>,
    #[serde(default)]
    severity: Ratings,
    #[serde(default)]
    annotations: Annotations,
    vulnerability: Option<Box<Nested>>,
}

/// The body of a result in v0.1's prose.
#[derive(Deserialize)]
struct Nested {
    id: Option<String>,
    #[serde(default)]
    severity: Ratings,
    #[serde(default)]
    annotations: Annotations,
}

impl Entry {
    fn into_draft(self) -> Draft {
        let Self { id, mut severity, annotations: Annotations(mut facts), vulnerability } = self;
        let mut ids = Vec::from_iter(id);
        if let Some(nested) = vulnerability {
            ids.extend(nested.id);
            severity.merge(nested.severity);
            facts.merge(nested.annotations.0);
        }
        let mut ids = ids.into_iter();
        severity.merge(facts.severity);
        facts.cvss_score.into_iter().for_each(|score| severity.score(score));
        Draft {
            id: ids.next(),
            aliases: ids.chain(facts.aliases.0).collect(),
            ratings: severity,
            package: facts.package,
            purl: facts.purl,
            installed: facts.installed_version,
            fixed: facts.fixed_version.0,
            fix_state: fix_state(facts.fix_state.as_deref().unwrap_or_default()),
            known_exploited: facts.known_exploited,
            epss: facts.epss,
            published: facts.published,
            first_seen: facts.first_seen,
            analysis: facts.analysis.unwrap_or_default(),
        }
    }
}

fn fix_state(word: &str) -> FixState {
    [FixState::Fixed, FixState::NotFixed, FixState::WontFix]
        .into_iter()
        .find(|state| state.as_str() == word)
        .unwrap_or_default()
}

/// All annotations of one result: an object, or a list of objects that each state a part.
#[derive(Default)]
struct Annotations(Facts);

/// The keys that carabiner-dev/osv, govulncheck's attestations and our own statements use. Others
/// are free and not read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Facts {
    package: Option<String>,
    purl: Option<String>,
    #[serde(alias = "installedVersion")]
    installed_version: Option<String>,
    #[serde(alias = "fixedVersion")]
    fixed_version: Texts,
    #[serde(alias = "fixState")]
    fix_state: Option<String>,
    aliases: Texts,
    severity: Ratings,
    #[serde(alias = "cvssScore")]
    cvss_score: Option<Score>,
    #[serde(deserialize_with = "loose::time")]
    published: Option<OffsetDateTime>,
    #[serde(alias = "firstSeen", alias = "firstObservedAt", alias = "first_observed_at")]
    #[serde(deserialize_with = "loose::time")]
    first_seen: Option<OffsetDateTime>,
    #[serde(deserialize_with = "loose::epss")]
    epss: Option<Epss>,
    #[serde(alias = "knownExploited", deserialize_with = "loose::flag")]
    known_exploited: Option<bool>,
    #[serde(deserialize_with = "loose::analysis")]
    analysis: Option<Analysis>,
}

impl Facts {
    /// Adds what `other` states: to lists all of it, to single values only where there is none.
    fn merge(&mut self, other: Self) {
        self.package = self.package.take().or(other.package);
        self.purl = self.purl.take().or(other.purl);
        self.installed_version = self.installed_version.take().or(other.installed_version);
        self.fixed_version.merge(other.fixed_version);
        self.fix_state = self.fix_state.take().or(other.fix_state);
        self.aliases.merge(other.aliases);
        self.severity.merge(other.severity);
        self.cvss_score = self.cvss_score.max(other.cvss_score);
        // Of two statements the one with which it counts more.
        self.published = either(self.published, other.published, Ord::min);
        self.first_seen = either(self.first_seen, other.first_seen, Ord::min);
        self.epss = self.epss.max(other.epss);
        self.known_exploited = self.known_exploited.max(other.known_exploited);
        self.analysis = either(self.analysis, other.analysis, Ord::min);
    }
}

/// One of what two annotations state.
fn either<T>(a: Option<T>, b: Option<T>, choose: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(choose(a, b)),
        (a, b) => a.or(b),
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Fold)
    }
}

struct Fold;

impl<'de> Visitor<'de> for Fold {
    type Value = Annotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations: an object or a list of objects")
    }

    fn visit_unit<E>(self) -> Result<Annotations, E> {
        Ok(Annotations::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Annotations, A::Error> {
        Ok(Annotations(Facts::deserialize(MapAccessDeserializer::new(map))?))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Annotations, A::Error> {
        let mut all = Facts::default();
        while let Some(facts) = seq.next_element()? {
            all.merge(facts);
        }
        Ok(Annotations(all))
    }
}

/// One text or a list of them. One past [`MAX_LIST`] is enough to be refused later.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn merge(&mut self, other: Self) {
        if self.0.len() <= MAX_LIST {
            self.0.extend(other.0);
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            None,
            One(String),
            Many(Capped<String, MAX_LIST>),
        }
        Ok(Self(match Shape::deserialize(deserializer)? {
            Shape::None => Vec::new(),
            Shape::One(text) => vec![text],
            Shape::Many(list) => list.kept(),
        }))
    }
}
