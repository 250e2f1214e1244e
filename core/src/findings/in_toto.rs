//! An in-toto statement in, what its predicate says out: if it is about the verified subject.
//!
//! Fields as in `spec/v1/statement.md` of in-toto/attestation.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::capped::Capped;
use super::{
    COSIGN_VULN_V1, Content, FindingsError, Format, Input, MAX_DIGESTS, MAX_SUBJECTS, MAX_TEXT,
    Reading, VULNS_V0_1, VULNS_V0_2, bounded, cosign_vuln, document, openvex, vulns,
};
use crate::image::Digest;
use crate::referrers::PREDICATE_TYPE;

/// `_type` of a statement of version 1.
pub(super) const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// `_type` of a statement of version 0.1, which differs in nothing that is read.
const STATEMENT_V0_1: &str = "https://in-toto.io/Statement/v0.1";

pub(super) fn read(input: &Input<'_>) -> Result<Reading, FindingsError> {
    let raw: Raw<'_> = document(input.bytes)?;
    let (head, predicate) = raw.split()?;
    let predicate_type = head.predicate_type.as_str();
    if let Some(annotated) = input.annotations.get(PREDICATE_TYPE)
        && annotated != predicate_type
    {
        return Err(FindingsError::Announced {
            annotated: bounded("bytes of annotation", annotated, MAX_TEXT)?.to_owned(),
            stated: predicate_type.to_owned(),
        });
    }
    head.check_subject(input.subject)?;
    let predicate = predicate.ok_or(FindingsError::Missing("predicate"))?;
    let (format, content) = match predicate_type {
        VULNS_V0_1 | VULNS_V0_2 => (Format::Vulns, vulns::read(predicate).map(Content::Findings)),
        COSIGN_VULN_V1 => (Format::CosignVuln, cosign_vuln::read(predicate).map(Content::Findings)),
        vex if openvex::is_type(vex) => {
            let vex = openvex::read(predicate, input.subject, openvex::Unnamed::Subject);
            let vex = vex.map_err(|error| FindingsError::Vex(Box::new(error)));
            (Format::OpenVex, vex.map(Content::Vex))
        }
        other => return Err(FindingsError::Format(other.to_owned())),
    };
    Ok(Reading { content: content?, format, predicate_type: Some(predicate_type.to_owned()) })
}

/// What a statement says of itself: its predicate's type, and what it is about.
#[derive(Debug)]
pub(crate) struct Head {
    predicate_type: String,
    subjects: Vec<Subject>,
}

impl Head {
    /// Reads it, whatever the predicate holds.
    pub(crate) fn parse(statement: &[u8]) -> Result<Self, FindingsError> {
        let raw: Raw<'_> = document(statement)?;
        raw.split().map(|(head, _)| head)
    }

    pub(crate) fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// One of the subjects must have the image's digest, written as digests are: a statement that
    /// writes it otherwise is not one that we know how to read (CASES T004).
    pub(crate) fn check_subject(&self, image: Digest) -> Result<(), FindingsError> {
        let hex = image.hex();
        let is_image = |subject: &Subject| subject.digest.sha256.as_ref() == Some(&hex);
        let found = self.subjects.iter().any(is_image);
        found.then_some(()).ok_or(FindingsError::WrongSubject { subject: image })
    }
}

/// A type that is compared whole: no space is trimmed from it.
fn stated<'a>(field: &'static str, value: Option<&'a str>) -> Result<&'a str, FindingsError> {
    let value = value.ok_or(FindingsError::Missing(field))?;
    bounded(field, value, MAX_TEXT)?;
    Ok(value)
}

fn checked(subjects: Capped<Subject, MAX_SUBJECTS>) -> Result<Vec<Subject>, FindingsError> {
    let subjects = subjects.within("subjects")?;
    if subjects.iter().any(|subject| subject.digest.count > MAX_DIGESTS) {
        let what = "digests of one subject";
        return Err(FindingsError::TooLarge { what, limit: MAX_DIGESTS });
    }
    Ok(subjects)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(rename = "_type")]
    statement_type: Option<String>,
    subject: Option<Capped<Subject, MAX_SUBJECTS>>,
    predicate_type: Option<String>,
    #[serde(borrow)]
    predicate: Option<&'a RawValue>,
    /// Only an envelope has it.
    payload_type: Option<IgnoredAny>,
}

impl<'a> Raw<'a> {
    fn split(self) -> Result<(Head, Option<&'a RawValue>), FindingsError> {
        if self.payload_type.is_some() {
            return Err(FindingsError::Envelope);
        }
        let version = stated("_type", self.statement_type.as_deref())?;
        if version != STATEMENT_V1 && version != STATEMENT_V0_1 {
            return Err(FindingsError::Format(version.to_owned()));
        }
        let predicate_type = stated("predicateType", self.predicate_type.as_deref())?.to_owned();
        let subjects = checked(self.subject.unwrap_or_default())?;
        Ok((Head { predicate_type, subjects }, self.predicate))
    }
}

#[derive(Debug, Deserialize)]
struct Subject {
    #[serde(default)]
    digest: Digests,
}

/// The digests of one subject: how many, and the one that is compared.
#[derive(Debug, Default)]
struct Digests {
    count: usize,
    sha256: Option<String>,
}

impl<'de> Deserialize<'de> for Digests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fold)
    }
}

struct Fold;

impl<'de> Visitor<'de> for Fold {
    type Value = Digests;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("digests by algorithm")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Digests, A::Error> {
        let mut digests = Digests::default();
        while let Some(algorithm) = map.next_key::<String>()? {
            digests.count += 1;
            if algorithm == "sha256" {
                digests.sha256 = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(digests)
    }
}
