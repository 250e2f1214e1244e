//! What is attached to a digest in, the reports and the signatures among it out: by profiles.
//!
//! A profile is asked twice. Before anything is fetched it chooses by what the registry lists, which
//! is a hint; after verification it admits by what was signed, which is a fact.

use std::collections::BTreeMap;

use serde::Deserialize;

use self::raw::Raw;
use super::{CREATED, Descriptor, NOTARY_SIGNATURE, PREDICATE_TYPE};
use crate::evidence::Reason;
use crate::findings::{self, Content, Format, Reading};
use crate::policy::Glob;
use crate::signature::{Allowed, Signer, Verified};

mod raw;
mod warnings;

pub use self::raw::{MAX_PROFILE_LIST, MAX_PROFILE_TEXT, ProfileError};

/// The most profiles of one configuration.
pub const MAX_PROFILES: usize = 64;

/// Artifact type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Which attached artifacts count, and as what. One profile that takes an artifact is enough.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Profile>")]
pub struct Profiles(Vec<Profile>);

/// One kind of artifact that counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Profile {
    name: String,
    kind: Kind,
    artifact_types: Vec<String>,
    annotations: BTreeMap<String, Glob>,
    predicate_types: Vec<String>,
    formats: Vec<Format>,
    signers: Vec<Allowed>,
}

/// What the documents of a profile are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What a scanner found.
    #[default]
    Findings,
    /// What somebody says of what scanners find (VEX).
    Vex,
}

/// Why a verified document does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Its signer may sign other things, and not these.
    #[error("`{subject}`, trusted by statement `{policy}`, is a signer of no profile for it")]
    Signer {
        /// The signer.
        subject: String,
        /// The statement of the trust policy that trusts it.
        policy: String,
    },
    /// What it is, as signed, is none that counts.
    #[error("no profile takes a document of format `{}`{}", format.as_str(), predicate(predicate_type.as_deref()))]
    Profile {
        /// Its format.
        format: Format,
        /// Its predicate type, if it is a statement.
        predicate_type: Option<String>,
    },
}

fn predicate(predicate_type: Option<&str>) -> String {
    predicate_type.map(|p| format!(" and predicate type `{p}`")).unwrap_or_default()
}

impl NotAdmitted {
    /// The kind of fault that it is in evidence.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Signer { .. } => Reason::UntrustedSigner,
            Self::Profile { .. } => Reason::NoProfile,
        }
    }
}

impl Default for Profiles {
    /// What Defender publishes, cosign's `vuln` predicate, and the reports and VEX documents of
    /// scanners under the types by which they are pushed as they are. Some of these types are given to
    /// other things too, which reading tells apart.
    fn default() -> Self {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let profile = |name: &str, kind, types: &[&str], predicates: &[&str]| Profile {
            name: name.to_owned(),
            kind,
            artifact_types: own(types),
            annotations: BTreeMap::new(),
            predicate_types: own(predicates),
            formats: Vec::new(),
            signers: Vec::new(),
        };
        let [openvex, other_openvex] = findings::VEX_MEDIA_TYPES;
        Self(vec![
            profile("statements", Kind::Findings, &[IN_TOTO], &findings::REPORT_PREDICATES),
            profile("reports", Kind::Findings, &findings::REPORT_MEDIA_TYPES, &[]),
            profile("vex", Kind::Vex, &[IN_TOTO, openvex, other_openvex], &[findings::OPENVEX]),
        ])
    }
}

impl Profiles {
    /// The descriptors that may be findings reports, newest `created` annotation first, then by
    /// digest. The annotation is a hint for the order in which to look, never a fact.
    #[must_use]
    pub fn reports<'a>(&self, attached: &'a [Descriptor]) -> Vec<&'a Descriptor> {
        self.chosen(Kind::Findings, attached)
    }

    /// The descriptors that may be VEX documents, in the same order.
    #[must_use]
    pub fn vex<'a>(&self, attached: &'a [Descriptor]) -> Vec<&'a Descriptor> {
        self.chosen(Kind::Vex, attached)
    }

    fn chosen<'a>(&self, kind: Kind, attached: &'a [Descriptor]) -> Vec<&'a Descriptor> {
        let is_chosen = |d: &&Descriptor| self.0.iter().any(|p| p.kind == kind && p.chooses(d));
        newest_first(attached.iter().filter(is_chosen).collect())
    }

    /// Whether a document by this signer may count at all: one that may not is not even read, so that
    /// whoever is trusted to sign something else cannot get in the way of those who sign reports.
    ///
    /// # Errors
    /// When there is no profile whose signers it is among.
    pub fn admit_signer(&self, signer: &Signer) -> Result<(), NotAdmitted> {
        if self.0.iter().any(|profile| profile.is_signed_by(signer)) {
            return Ok(());
        }
        Err(NotAdmitted::Signer { subject: signer.subject.clone(), policy: signer.policy.clone() })
    }

    /// Whether what a verified document says counts.
    ///
    /// # Errors
    /// When no profile of its kind takes what was signed: its annotations, format, predicate type and
    /// signer.
    pub fn admit(&self, verified: &Verified, reading: &Reading) -> Result<(), NotAdmitted> {
        self.admit_signed(verified.annotations(), verified.signer(), reading)
    }

    fn admit_signed(
        &self,
        annotations: &BTreeMap<String, String>,
        signer: &Signer,
        reading: &Reading,
    ) -> Result<(), NotAdmitted> {
        let kind = match reading.content {
            Content::Findings(_) => Kind::Findings,
            Content::Vex(_) => Kind::Vex,
        };
        let takes =
            |p: &&Profile| p.kind == kind && p.takes(reading) && p.is_annotated(annotations);
        let taking = || self.0.iter().filter(takes);
        if taking().any(|profile| profile.is_signed_by(signer)) {
            return Ok(());
        }
        Err(if taking().next().is_some() {
            let (subject, policy) = (signer.subject.clone(), signer.policy.clone());
            NotAdmitted::Signer { subject, policy }
        } else {
            let predicate_type = reading.predicate_type.clone();
            NotAdmitted::Profile { format: reading.format, predicate_type }
        })
    }
}

impl Profile {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// By what the registry lists. An in-toto statement whose predicate is not announced (older
    /// pushers) may be a report, which the statement itself decides.
    fn chooses(&self, listed: &Descriptor) -> bool {
        let Some(artifact_type) = listed.artifact_type.as_deref() else {
            return false;
        };
        let is_predicate = match listed.annotations.get(PREDICATE_TYPE) {
            _ if artifact_type != IN_TOTO || self.predicate_types.is_empty() => true,
            Some(announced) => self.wants(announced),
            None => self.kind == Kind::Findings,
        };
        is_predicate
            && self.artifact_types.iter().any(|known| known == artifact_type)
            && self.is_annotated(&listed.annotations)
    }

    fn is_annotated(&self, annotations: &BTreeMap<String, String>) -> bool {
        self.annotations
            .iter()
            .all(|(key, pattern)| annotations.get(key).is_some_and(|value| pattern.matches(value)))
    }

    fn wants(&self, predicate_type: &str) -> bool {
        let is = |known: &String| {
            known == predicate_type
                || (known == findings::OPENVEX && findings::is_openvex(predicate_type))
        };
        self.predicate_types.is_empty() || self.predicate_types.iter().any(is)
    }

    /// By what was signed. A profile of nothing but statements takes no document that is none.
    fn takes(&self, reading: &Reading) -> bool {
        let is_kind_of_document = match &reading.predicate_type {
            Some(predicate_type) => self.wants(predicate_type),
            None => self.artifact_types.iter().any(|artifact_type| artifact_type != IN_TOTO),
        };
        is_kind_of_document && (self.formats.is_empty() || self.formats.contains(&reading.format))
    }

    fn is_signed_by(&self, signer: &Signer) -> bool {
        self.signers.is_empty() || self.signers.iter().any(|allowed| allowed.is(signer))
    }
}

fn newest_first(mut chosen: Vec<&Descriptor>) -> Vec<&Descriptor> {
    let created = |d: &Descriptor| d.annotations.get(CREATED).cloned();
    chosen.sort_by(|a, b| created(b).cmp(&created(a)).then(a.digest.cmp(&b.digest)));
    chosen.dedup_by(|a, b| a.digest == b.digest);
    chosen
}

/// The Notary Project signatures among the artifacts attached to a report, by digest.
#[must_use]
pub fn signatures(attached: &[Descriptor]) -> Vec<&Descriptor> {
    let is_signature = |d: &&Descriptor| d.artifact_type.as_deref() == Some(NOTARY_SIGNATURE);
    let mut chosen: Vec<_> = attached.iter().filter(is_signature).collect();
    chosen.sort_by_key(|d| d.digest);
    chosen.dedup_by_key(|d| d.digest);
    chosen
}

#[cfg(test)]
mod tests;
