//! What a review asks: where images would run, and which.

use std::collections::BTreeMap;

/// The version that is spoken.
pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
/// The kind of what is read and written.
pub(super) const KIND: &str = "AdmissionReview";

/// One question of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What the answer has to repeat.
    pub uid: String,
    /// What is done with the object.
    pub operation: Operation,
    /// Whether nothing is to come of it: the answer is the same, and has no side effects.
    pub dry_run: bool,
    /// The object.
    pub object: Object,
    /// What has to be found out.
    pub asked: Asked,
}

/// What is done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Something connects to it.
    Connect,
}

/// The object that a review is about, as the API server names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The group of its kind; empty for the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name, or what its name is generated from; empty if neither is known yet.
    pub name: String,
    /// The part of it that is written; empty for all of it.
    pub subresource: String,
    /// Whether it runs by itself.
    pub level: Level,
}

/// Whether an object runs, or makes what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A pod.
    Pod,
    /// Anything else: its pods are asked about again when they are made.
    Controller,
}

/// What has to be found out for a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: no image that runs can change by it.
    Nothing(Untouched),
    /// Whether these images may run.
    Images(Box<Question>),
}

/// Why no image that runs can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untouched {
    /// The object is deleted.
    Deleted,
    /// Something connects to the object.
    Connected,
    /// The part of the object that is written has no images.
    Subresource,
    /// All images are those of before.
    Unchanged,
    /// The object has no images (yet).
    None,
}

impl Untouched {
    /// In one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Connected => "connected",
            Self::Subresource => "subresource",
            Self::Unchanged => "unchanged",
            Self::None => "no_images",
        }
    }
}

/// Images, and where they would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Where they would run.
    pub context: Context,
    /// The images, at most [`super::MAX_IMAGES`]. Those that are not new are not among them. There is none
    /// where all are blank; then there is nothing to ask, and a pod is denied.
    pub images: Vec<Image>,
    /// The places that have no image yet. Others may fill them in before the object is validated.
    pub blank: Vec<Image>,
}

/// Where images would run, as far as the review says. The cloud and the cluster are not among it: they
/// are those of the shim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The namespace.
    pub namespace: String,
    /// Its labels, as the settings say.
    pub namespace_labels: BTreeMap<String, String>,
    /// What owns the pod.
    pub workload: Workload,
    /// The name of the pod, or what it is generated from; empty where there is no pod yet.
    pub pod: String,
    /// The labels of the pod.
    pub pod_labels: BTreeMap<String, String>,
    /// The service account that it runs as.
    pub service_account: String,
    /// Why it must run even if a rule denies it; empty if nobody says so.
    pub break_glass: String,
}

/// What owns a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// An image, and where in the object it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What would use it.
    pub place: Place,
    /// The name of the container, of the volume, or of the field.
    pub container: String,
    /// The image, as the object names it.
    pub image: String,
    /// The JSON Pointer (RFC 6901) of the text in the object.
    pub pointer: String,
}

/// What would use an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A container.
    Container,
    /// An init container; with `restartPolicy: Always` it goes on running.
    Init,
    /// An ephemeral container.
    Ephemeral,
    /// A volume.
    Volume,
    /// A field that is configured for a custom kind.
    Configured,
    /// A field of a pod that is not known here and looks like an image.
    Unknown,
}
