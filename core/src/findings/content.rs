//! The bytes of a verified report in, what they say out.
//!
//! The layer's media type tells a statement and a VEX document from a scanner's own report; of
//! which scanner and in which format that is, its marker fields tell, here and nowhere else.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{
    Finding, Findings, FindingsError, Input, MAX_REPORT, MAX_TEXT, Scanner, Vex, bounded,
    cosign_vuln, cyclonedx, document, grype, in_toto, openvex, part, sarif, time, trivy,
};
use crate::referrers::{ARTIFACT_CREATED, CREATED, IN_TOTO};

/// Media type of JSON that says nothing of its format, which its fields then tell.
pub(super) const JSON: &str = "application/json";

/// Media types of a scanner's own report as a layer: which format it has, its fields tell.
pub const REPORT_MEDIA_TYPES: [&str; 6] = [
    "application/vnd.aquasecurity.trivy.report+json",
    "application/vnd.trivy.report+json",
    "application/vnd.aquasecurity.trivy.report.sarif.v1",
    "application/sarif+json",
    "application/vnd.cyclonedx+json",
    JSON,
];

/// Media types of an OpenVEX document as a layer.
pub const VEX_MEDIA_TYPES: [&str; 2] = ["application/vnd.openvex+json", "application/openvex+json"];

/// What a verified document says, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What it says.
    pub content: Content,
    /// How it says it.
    pub format: Format,
    /// The predicate type that it states, if it is an in-toto statement.
    pub predicate_type: Option<String>,
}

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// JSON of Trivy.
    Trivy,
    /// JSON of Grype.
    Grype,
    /// SARIF of Trivy or Grype.
    Sarif,
    /// `CycloneDX` with vulnerabilities.
    #[serde(rename = "cyclonedx")]
    CycloneDx,
    /// cosign's vulnerability predicate, within a statement or alone.
    CosignVuln,
    /// The predicate vulns of in-toto.
    Vulns,
    /// `OpenVEX`, within a statement or alone.
    #[serde(rename = "openvex")]
    OpenVex,
}

impl Format {
    /// The word for it, as in configuration and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trivy => "trivy",
            Self::Grype => "grype",
            Self::Sarif => "sarif",
            Self::CycloneDx => "cyclonedx",
            Self::CosignVuln => "cosign-vuln",
            Self::Vulns => "vulns",
            Self::OpenVex => "openvex",
        }
    }
}

/// What a verified document says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// What a scanner found.
    Findings(Findings),
    /// What somebody says of what scanners find.
    Vex(Vex),
}

/// What a scanner's own document says, before it is known which time counts: its own, or that of a
/// statement around it.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) scanner: Scanner,
    /// The field that states when the scan finished, and what it states.
    pub(super) finished: (&'static str, Option<String>),
    pub(super) list: Vec<Finding>,
}

impl Scan {
    /// The findings of a document that stands by itself.
    pub(super) fn into_findings(self) -> Result<Findings, FindingsError> {
        let (field, value) = &self.finished;
        let scanned_at = time(field, value.as_deref())?;
        Ok(self.finished_at(scanned_at))
    }

    /// The findings of a document that a statement vouches for.
    pub(super) fn finished_at(self, scanned_at: OffsetDateTime) -> Findings {
        Findings::new(self.scanner, scanned_at, self.list)
    }
}

/// Reads a layer.
pub(super) fn read(input: &Input<'_>) -> Result<Reading, FindingsError> {
    if input.bytes.len() > MAX_REPORT {
        return Err(FindingsError::TooLarge { what: "bytes", limit: MAX_REPORT });
    }
    match bounded("bytes of media type", input.media_type, MAX_TEXT)? {
        IN_TOTO => in_toto::read(input),
        media_type if VEX_MEDIA_TYPES.contains(&media_type) => openvex(input),
        media_type if REPORT_MEDIA_TYPES.contains(&media_type) => {
            let raw = document(input.bytes)?;
            match kind(raw)? {
                Some(kind) => read_kind(kind, raw, input),
                // It may be anything, and claims nothing.
                None if media_type == JSON => Err(FindingsError::NotAReport(
                    "its fields are those of no format that is read".to_owned(),
                )),
                None => Err(unknown()),
            }
        }
        "application/vnd.dsse.envelope.v1+json"
        | "application/vnd.dev.sigstore.bundle.v0.3+json" => Err(FindingsError::Envelope),
        media_type => Err(FindingsError::Format(media_type.to_owned())),
    }
}

/// Reads a scanner's own document, within a statement.
pub(super) fn scan(document: &RawValue) -> Result<Scan, FindingsError> {
    match kind(document)?.ok_or_else(unknown)? {
        Kind::Trivy => trivy::read(document),
        Kind::Grype => grype::read(document),
        Kind::Sarif => sarif::read(document),
        Kind::CycloneDx => cyclonedx::read(document),
        Kind::InToto | Kind::Envelope | Kind::CosignVuln | Kind::OpenVex => {
            Err(FindingsError::Format("document within a statement".to_owned()))
        }
    }
}

fn read_kind(kind: Kind, raw: &RawValue, input: &Input<'_>) -> Result<Reading, FindingsError> {
    let (format, findings) = match kind {
        Kind::Trivy => (Format::Trivy, trivy::read(raw)?.into_findings()),
        Kind::Grype => (Format::Grype, grype::read(raw)?.into_findings()),
        Kind::CycloneDx => (Format::CycloneDx, cyclonedx::read(raw)?.into_findings()),
        Kind::CosignVuln => (Format::CosignVuln, cosign_vuln::read(raw)),
        Kind::Sarif => {
            let mut scan = sarif::read(raw)?;
            // SARIF has no scan time of its own; the manifest's annotations are signed with it.
            if scan.finished.1.is_none() {
                let annotation = |name| Some((name, input.annotations.get(name)?.clone()));
                let made = annotation(CREATED).or_else(|| annotation(ARTIFACT_CREATED));
                scan.finished = made.map_or(scan.finished, |(name, at)| (name, Some(at)));
            }
            (Format::Sarif, scan.into_findings())
        }
        Kind::InToto => return in_toto::read(input),
        Kind::Envelope => return Err(FindingsError::Envelope),
        Kind::OpenVex => return openvex(input),
    };
    Ok(Reading { content: Content::Findings(findings?), format, predicate_type: None })
}

/// Reads a VEX document that stands by itself.
fn openvex(input: &Input<'_>) -> Result<Reading, FindingsError> {
    let read = || openvex::read(document(input.bytes)?, input.subject, openvex::Unnamed::Nothing);
    let vex = read().map_err(|error| FindingsError::Vex(Box::new(error)))?;
    Ok(Reading { content: Content::Vex(vex), format: Format::OpenVex, predicate_type: None })
}

fn unknown() -> FindingsError {
    FindingsError::Format("document without the fields of a known report".to_owned())
}

/// The formats of JSON documents.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Trivy,
    Grype,
    Sarif,
    CycloneDx,
    CosignVuln,
    InToto,
    Envelope,
    OpenVex,
}

/// The format that the fields of a document tell, if any. Fields of two formats are two readings.
fn kind(document: &RawValue) -> Result<Option<Kind>, FindingsError> {
    let m: Markers = part(document)?;
    let known = [
        (m.schema_version.is_some(), Kind::Trivy),
        (m.matches.is_some() && m.descriptor.is_some(), Kind::Grype),
        (m.runs.is_some(), Kind::Sarif),
        (m.bom_format.is_some(), Kind::CycloneDx),
        (m.scanner.is_some() && m.metadata.is_some(), Kind::CosignVuln),
        (m.statement_type.is_some(), Kind::InToto),
        (m.payload_type.is_some(), Kind::Envelope),
        (matches!(&m.context, Some(Context::Url(url)) if openvex::is_type(url)), Kind::OpenVex),
    ];
    let mut told = known.into_iter().filter_map(|(is_marked, kind)| is_marked.then_some(kind));
    match (told.next(), told.next()) {
        (kind, None) => Ok(kind),
        _ => Err(FindingsError::Format("document with the fields of two formats".to_owned())),
    }
}

/// The fields that only one format has at its top.
#[derive(Deserialize)]
struct Markers {
    #[serde(rename = "SchemaVersion")]
    schema_version: Option<IgnoredAny>,
    matches: Option<IgnoredAny>,
    descriptor: Option<IgnoredAny>,
    runs: Option<IgnoredAny>,
    #[serde(rename = "bomFormat")]
    bom_format: Option<IgnoredAny>,
    scanner: Option<IgnoredAny>,
    metadata: Option<IgnoredAny>,
    #[serde(rename = "_type")]
    statement_type: Option<IgnoredAny>,
    #[serde(rename = "payloadType")]
    payload_type: Option<IgnoredAny>,
    #[serde(rename = "@context")]
    context: Option<Context>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Context {
    Url(String),
    Other(IgnoredAny),
}
