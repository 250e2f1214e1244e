//! What is attached to a digest in, the reports and the signatures among it out.

use super::{CREATED, Descriptor, NOTARY_SIGNATURE, PREDICATE_TYPE};
use crate::findings;

/// Which attached artifacts count as findings reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Artifact types that are reports by themselves.
    pub artifact_types: Vec<String>,
    /// Predicate types that make an in-toto artifact a report. An artifact of type
    /// `application/vnd.in-toto+json` counts if its predicate annotation is one of these, or if it
    /// has none (older pushers), in which case the statement itself decides.
    pub predicate_types: Vec<String>,
    /// Artifact types that are VEX documents by themselves. In-toto artifacts that are announced as
    /// OpenVEX are too.
    pub vex_types: Vec<String>,
}

/// Artifact type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

impl Default for Profile {
    /// What Defender publishes, cosign's `vuln` predicate, and the reports and VEX documents of
    /// scanners under the types by which they are pushed as they are. Some of these types are given to
    /// other things too, which reading tells apart.
    fn default() -> Self {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Self {
            artifact_types: own(&findings::REPORT_MEDIA_TYPES),
            predicate_types: own(&[
                findings::VULNS_V0_2,
                findings::VULNS_V0_1,
                findings::COSIGN_VULN_V1,
            ]),
            vex_types: own(&findings::VEX_MEDIA_TYPES),
        }
    }
}

impl Profile {
    /// The descriptors that may be findings reports, newest `created` annotation first, then by
    /// digest. The annotation is a hint for the order in which to look, never a fact.
    #[must_use]
    pub fn reports<'a>(&self, attached: &'a [Descriptor]) -> Vec<&'a Descriptor> {
        newest_first(attached.iter().filter(|d| self.is_report(d)).collect())
    }

    /// The descriptors that may be VEX documents, in the same order.
    #[must_use]
    pub fn vex<'a>(&self, attached: &'a [Descriptor]) -> Vec<&'a Descriptor> {
        newest_first(attached.iter().filter(|d| self.is_vex(d)).collect())
    }

    fn is_report(&self, descriptor: &Descriptor) -> bool {
        let Some(artifact_type) = descriptor.artifact_type.as_deref() else {
            return false;
        };
        if artifact_type == IN_TOTO {
            return descriptor
                .annotations
                .get(PREDICATE_TYPE)
                .is_none_or(|p| self.predicate_types.iter().any(|known| known == p));
        }
        self.artifact_types.iter().any(|known| known == artifact_type)
    }

    fn is_vex(&self, descriptor: &Descriptor) -> bool {
        let Some(artifact_type) = descriptor.artifact_type.as_deref() else {
            return false;
        };
        if artifact_type == IN_TOTO {
            let announced = descriptor.annotations.get(PREDICATE_TYPE);
            return announced.is_some_and(|predicate| findings::is_openvex(predicate));
        }
        self.vex_types.iter().any(|known| known == artifact_type)
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
