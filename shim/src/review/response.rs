//! What the API server is to do, as it reads it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::question::{API_VERSION, KIND};

/// What the API server is to do with an object. The default allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The uid of the review.
    pub uid: String,
    /// Whether the object is taken.
    pub allowed: bool,
    /// Why not, for whoever wrote the object; empty if it is allowed.
    pub message: String,
    /// What whoever wrote the object is warned of.
    pub warnings: Vec<String>,
    /// What the audit log of the API server has of it.
    pub annotations: BTreeMap<Annotation, String>,
    /// What to change in the object.
    pub patch: Vec<PatchOp>,
}

/// The name of an audit annotation; the API server puts the name of the webhook before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Annotation {
    /// What came of it: `allow`, `audit`, `deny`, `unknown` or `skipped`; of a mutation `pinned` or
    /// `not_pinned`.
    Decision,
    /// Why there is no decision, or why none was needed.
    Cause,
    /// The rules that decided.
    Rules,
    /// Each image that was decided about, with its digest.
    Images,
    /// Where the decisions are from.
    Source,
    /// That a denial was not enforced: `warn`.
    Enforcement,
    /// The revision of the policy.
    PolicyRevision,
    /// That nothing was to come of it.
    DryRun,
}

/// One change of an object (RFC 6902).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PatchOp {
    /// The change is good only if this text is there.
    Test {
        /// Where, as a JSON Pointer.
        path: String,
        /// The text.
        value: String,
    },
    /// This text is put there instead.
    Replace {
        /// Where, as a JSON Pointer.
        path: String,
        /// The text.
        value: String,
    },
}

impl Response {
    /// As the API server reads it: an `AdmissionReview` of `admission.k8s.io/v1`.
    ///
    /// # Errors
    /// Never in practice: texts can always be written.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let patch = match self.patch.as_slice() {
            [] => None,
            patch => Some(STANDARD.encode(serde_json::to_vec(patch)?)),
        };
        let status = (!self.allowed).then_some(Status {
            code: FORBIDDEN,
            reason: "Forbidden",
            message: &self.message,
        });
        serde_json::to_vec(&Written {
            api_version: API_VERSION,
            kind: KIND,
            response: WrittenResponse {
                uid: &self.uid,
                allowed: self.allowed,
                status,
                patch_type: patch.is_some().then_some("JSONPatch"),
                patch,
                audit_annotations: &self.annotations,
                warnings: &self.warnings,
            },
        })
    }
}

/// The status that a client of the API server gets for a denial.
const FORBIDDEN: u16 = 403;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: WrittenResponse<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: &'a BTreeMap<Annotation, String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
}
