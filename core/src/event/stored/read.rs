//! The bytes of a decision in, the same line of JSON that its event is out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::text::Parts;
use super::{CUT, MAX_JUSTIFICATION};
use crate::decide::Action;
use crate::event::{Answered, is_false};
use crate::image::{Digest, Platform};

/// The grounds of a plain allow.
const NO_GROUNDS: &[u8] = br#"{"rule":null,"reason":null,"violations":[],"violations_total":0,"exemptions":[],"exemptions_total":0,"notices":[],"notices_total":0}"#;

/// Why stored bytes are not a decision, or not what was known of a manifest.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// They end too early.
    #[error("the record ends too early")]
    Short,
    /// A number is out of its range.
    #[error("a number in the record is out of range")]
    Number,
    /// A text is not UTF-8.
    #[error("a text in the record is not UTF-8")]
    Text,
    /// An instant is none.
    #[error("a time in the record is out of range")]
    Time,
    /// The part that is JSON is not the right one.
    #[error("the record is not the JSON that was expected")]
    Json(#[from] serde_json::Error),
}

/// A decision as it was stored.
#[derive(Debug, Clone)]
pub struct Stored<'a> {
    /// When the answer was given.
    pub time: OffsetDateTime,
    /// The answer.
    pub action: Action,
    /// Namespace.
    pub namespace: String,
    /// Names of what was known of each manifest.
    pub known: Vec<u32>,
    rest: Rest<'a>,
}

#[derive(Debug, Clone)]
struct Rest<'a> {
    duration_us: u64,
    image: String,
    digest: Option<Digest>,
    names: [String; 9],
    justification: String,
    namespace_labels: BTreeMap<String, String>,
    pod_labels: BTreeMap<String, String>,
    policy_revision: String,
    evidence_total: usize,
    manifests: Vec<Manifest>,
    cut: bool,
    grounds: ReadGrounds<'a>,
}

#[derive(Debug, Clone)]
struct Manifest {
    digest: Option<Digest>,
    platform: Option<Platform>,
    source: String,
    fetched_at: OffsetDateTime,
}

#[derive(Debug, Clone, Deserialize)]
struct ReadGrounds<'a> {
    rule: Option<String>,
    reason: Option<String>,
    #[serde(borrow)]
    violations: &'a RawValue,
    violations_total: usize,
    #[serde(borrow)]
    exemptions: &'a RawValue,
    exemptions_total: usize,
    break_glass: Option<String>,
    #[serde(borrow)]
    notices: &'a RawValue,
    notices_total: usize,
    whole: Option<Digest>,
    answered: Option<Answered>,
}

/// What was known of a manifest, as it was stored.
#[derive(Debug, Clone, Deserialize)]
pub struct KnownRecord {
    status: String,
    reason: Option<String>,
    age_ms: Option<u64>,
    detail: Option<String>,
    reports: Option<Box<RawValue>>,
    #[serde(default)]
    vex: Vec<Digest>,
}

impl KnownRecord {
    /// Reads what [`super::known`] wrote.
    ///
    /// # Errors
    /// When it did not.
    pub fn read(bytes: &[u8]) -> Result<Self, StoredError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Digests of the reports and VEX documents that it names.
    ///
    /// # Errors
    /// When they are not there.
    pub fn attached(&self) -> Result<Vec<Digest>, StoredError> {
        #[derive(Deserialize)]
        struct Named {
            digest: Digest,
        }
        let reports =
            self.reports.as_ref().map(|raw| serde_json::from_str::<Vec<Named>>(raw.get()));
        let reports = reports.transpose()?.unwrap_or_default();
        Ok(reports.into_iter().map(|named| named.digest).chain(self.vex.iter().copied()).collect())
    }
}

impl<'a> Stored<'a> {
    /// Reads what [`super::write`] wrote.
    ///
    /// # Errors
    /// When it did not.
    pub fn read(bytes: &'a [u8]) -> Result<Self, StoredError> {
        let mut parts = Parts { rest: bytes, cut: false };
        let count = parts.byte()?;
        let known = (0..count).map(|_| parts.chunk().map(u32::from_le_bytes));
        let known = known.collect::<Result<Vec<_>, _>>()?;
        let time = parts.instant()?;
        let duration_us = parts.varint()?;
        let action = match parts.byte()? {
            0 => Action::Allow,
            1 => Action::Audit,
            2 => Action::Deny,
            _ => return Err(StoredError::Number),
        };
        parts.cut = parts.byte()? & CUT != 0;
        let mut image = parts.raw()?.to_owned();
        let asked = parts.digest()?;
        if let Some(asked) = asked {
            image.push('@');
            image.push_str(&asked.to_string());
        }
        let digest = parts.digest()?.or(asked);
        let mut names: [String; 10] = Default::default();
        for name in &mut names {
            *name = parts.name()?;
        }
        let [cluster, provider, account, region, namespace, kind, workload, pod, sa, container] =
            names;
        let justification = parts.text(MAX_JUSTIFICATION)?;
        let (namespace_labels, pod_labels) = (parts.labels()?, parts.labels()?);
        let policy_revision = parts.raw()?.to_owned();
        let evidence_total = parts.size()?;
        let manifests = (0..count).map(|_| manifest(&mut parts, digest));
        let manifests = manifests.collect::<Result<Vec<_>, _>>()?;
        let grounds = if parts.rest.is_empty() { NO_GROUNDS } else { parts.rest };
        let grounds = serde_json::from_slice(grounds)?;
        let names = [cluster, provider, account, region, kind, workload, pod, sa, container];
        let rest = Rest {
            duration_us,
            image,
            digest,
            names,
            justification,
            namespace_labels,
            pod_labels,
            policy_revision,
            evidence_total,
            manifests,
            cut: parts.cut,
            grounds,
        };
        Ok(Self { time, action, namespace, known, rest })
    }

    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        self.rest.grounds.rule.as_deref()
    }

    /// Message of the deciding violation.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.rest.grounds.reason.as_deref()
    }

    /// Name of the policy's break-glass entry by which a denial was lifted.
    #[must_use]
    pub fn break_glass(&self) -> Option<&str> {
        self.rest.grounds.break_glass.as_deref()
    }

    /// By whom and when it was given, where the service did not give it.
    #[must_use]
    pub const fn answered(&self) -> Option<&Answered> {
        self.rest.grounds.answered.as_ref()
    }

    /// The image, normalised.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.rest.image
    }

    /// Cluster, kind and name of the workload, and pod.
    #[must_use]
    pub fn place(&self) -> [&str; 4] {
        let [cluster, _, _, _, kind, workload, pod, ..] = &self.rest.names;
        [cluster, kind, workload, pod]
    }

    /// The line of an event file that is this decision, called `id`, with the number `seq`. `known` gives
    /// what a name in [`Self::known`] stands for.
    #[must_use]
    pub fn line<'l>(
        &'l self,
        id: &'l str,
        seq: u64,
        mut known: impl FnMut(u32) -> Option<&'l KnownRecord>,
    ) -> StoredLine<'l> {
        let rest = &self.rest;
        let mut cut = rest.cut;
        let evidence = self.known.iter().zip(&rest.manifests).map(|(name, manifest)| {
            let known = known(*name);
            // What cannot be found any more is as good as cut off.
            cut |= known.is_none();
            EvidenceLine::new(manifest, known)
        });
        let evidence = evidence.collect();
        let [cluster, provider, account, region, kind, workload, pod, sa, container] = &rest.names;
        StoredLine {
            kind: "decision",
            id,
            seq,
            time: self.time,
            action: self.action,
            cluster,
            provider,
            account,
            region,
            namespace: &self.namespace,
            namespace_labels: &rest.namespace_labels,
            workload_kind: kind,
            workload,
            pod,
            pod_labels: &rest.pod_labels,
            service_account: sa,
            container,
            justification: &rest.justification,
            image: &rest.image,
            digest: rest.digest,
            rule: self.rule(),
            reason: self.reason(),
            violations: rest.grounds.violations,
            violations_total: rest.grounds.violations_total,
            exemptions: rest.grounds.exemptions,
            exemptions_total: rest.grounds.exemptions_total,
            break_glass: self.break_glass(),
            notices: rest.grounds.notices,
            notices_total: rest.grounds.notices_total,
            evidence,
            evidence_total: rest.evidence_total,
            whole: rest.grounds.whole,
            cut,
            policy_revision: &rest.policy_revision,
            duration_us: rest.duration_us,
            answered: self.answered(),
        }
    }
}

fn manifest(parts: &mut Parts<'_>, digest: Option<Digest>) -> Result<Manifest, StoredError> {
    let digest = if parts.byte()? == 0 { parts.digest()? } else { digest };
    let platform = if parts.byte()? == 0 {
        None
    } else {
        let (os, architecture) = (parts.name()?, parts.name()?);
        let has_variant = parts.byte()? != 0;
        let variant = Some(parts.name()?).filter(|_| has_variant);
        Some(Platform { os, architecture, variant })
    };
    Ok(Manifest { digest, platform, source: parts.name()?, fetched_at: parts.instant()? })
}

/// A decision as a line of an event file: the fields of [`crate::event::Event`], and its number.
#[derive(Debug, Clone, Serialize)]
pub struct StoredLine<'a> {
    kind: &'static str,
    id: &'a str,
    seq: u64,
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
    action: Action,
    cluster: &'a str,
    provider: &'a str,
    account: &'a str,
    region: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    namespace_labels: &'a BTreeMap<String, String>,
    workload_kind: &'a str,
    workload: &'a str,
    pod: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pod_labels: &'a BTreeMap<String, String>,
    service_account: &'a str,
    container: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    justification: &'a str,
    image: &'a str,
    digest: Option<Digest>,
    rule: Option<&'a str>,
    reason: Option<&'a str>,
    violations: &'a RawValue,
    violations_total: usize,
    exemptions: &'a RawValue,
    exemptions_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    break_glass: Option<&'a str>,
    notices: &'a RawValue,
    notices_total: usize,
    evidence: Vec<EvidenceLine<'a>>,
    evidence_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<Digest>,
    #[serde(skip_serializing_if = "is_false")]
    cut: bool,
    policy_revision: &'a str,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<&'a Answered>,
}

#[derive(Debug, Clone, Serialize)]
struct EvidenceLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a Platform>,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    source: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    fetched_at: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    reports: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    vex: &'a [Digest],
}

impl<'a> EvidenceLine<'a> {
    fn new(manifest: &'a Manifest, known: Option<&'a KnownRecord>) -> Self {
        Self {
            digest: manifest.digest,
            platform: manifest.platform.as_ref(),
            status: known.map_or("lost", |known| &known.status),
            reason: known.and_then(|known| known.reason.as_deref()),
            age_ms: known.and_then(|known| known.age_ms),
            detail: known.and_then(|known| known.detail.as_deref()),
            source: &manifest.source,
            fetched_at: manifest.fetched_at,
            reports: known.and_then(|known| known.reports.as_deref()),
            vex: known.map_or(&[], |known| &known.vex),
        }
    }
}
