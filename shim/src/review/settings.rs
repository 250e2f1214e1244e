//! What is configured about reviews, checked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::FailPolicy;

/// The most custom kinds.
pub const MAX_CUSTOM_KINDS: usize = 256;
/// The most paths of one custom kind.
pub const MAX_PATHS: usize = 16;
/// The longest path, in bytes.
pub const MAX_PATH: usize = 256;
/// The most steps of a path.
pub const MAX_STEPS: usize = 32;
/// The longest key of an annotation, in bytes: 253 of prefix, a slash, 63 of name (Kubernetes).
pub const MAX_KEY: usize = 317;

/// What is configured about reviews.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// What a denial does to pods.
    pub pods: Enforcement,
    /// What a denial does to what makes pods.
    pub controllers: Enforcement,
    /// What holds for a review that cannot be read. Whoever writes an object can make it so; with
    /// `allow` they can choose not to be looked at.
    pub unreadable: FailPolicy,
    /// The annotation of a pod that says why it must run even if a rule denies it.
    pub break_glass_annotation: AnnotationKey,
    /// Where kinds that Kubernetes does not come with have images.
    pub custom_kinds: CustomKinds,
    /// The labels of namespaces, by name: a review does not have them.
    pub namespace_labels: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pods: Enforcement::Deny,
            controllers: Enforcement::Warn,
            unreadable: FailPolicy::Deny,
            break_glass_annotation: AnnotationKey("portcullis.dev/break-glass".to_owned()),
            custom_kinds: CustomKinds::default(),
            namespace_labels: BTreeMap::new(),
        }
    }
}

/// What a denial does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Enforcement {
    /// The object is denied.
    Deny,
    /// Whoever writes the object is warned.
    Warn,
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There are too many custom kinds.
    #[error("there are {0} custom kinds, more than the {MAX_CUSTOM_KINDS} allowed")]
    TooManyKinds(usize),
    /// A kind is there twice.
    #[error("custom kind `{0}` is there twice: put its paths together")]
    Twice(String),
    /// A kind has no name.
    #[error("a custom kind has no `kind`: name it as its objects do")]
    NoKind,
    /// A kind has no path, or too many.
    #[error("custom kind `{kind}` has {count} paths: expected 1 to {MAX_PATHS}")]
    Paths {
        /// The kind.
        kind: String,
        /// How many paths it has.
        count: usize,
    },
    /// A path is malformed.
    #[error(
        "`{0}` is not a path: expected names with dots between them, such as \
         `spec.steps[*].image`, of at most {MAX_PATH} bytes and {MAX_STEPS} steps"
    )]
    Path(String),
    /// A key is malformed.
    #[error("`{0}` is not the key of an annotation: expected such as `example.com/reason`")]
    Key(String),
}

/// The key of an annotation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AnnotationKey(String);

impl AnnotationKey {
    /// As objects have it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AnnotationKey {
    type Error = SettingsError;

    fn try_from(key: String) -> Result<Self, SettingsError> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(is_part) {
            return Err(SettingsError::Key(key));
        }
        Ok(Self(key))
    }
}

/// Custom kinds, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<CustomKind>")]
pub struct CustomKinds(Vec<CustomKind>);

impl CustomKinds {
    /// The kind of a group, if it is configured.
    #[must_use]
    pub fn find(&self, group: &str, kind: &str) -> Option<&CustomKind> {
        self.0.iter().find(|custom| custom.group == group && custom.kind == kind)
    }
}

impl TryFrom<Vec<CustomKind>> for CustomKinds {
    type Error = SettingsError;

    fn try_from(kinds: Vec<CustomKind>) -> Result<Self, SettingsError> {
        if kinds.len() > MAX_CUSTOM_KINDS {
            return Err(SettingsError::TooManyKinds(kinds.len()));
        }
        for custom in &kinds {
            let count = custom.pod_templates.len() + custom.pod_specs.len() + custom.images.len();
            if custom.kind.is_empty() {
                return Err(SettingsError::NoKind);
            }
            if count == 0 || count > MAX_PATHS {
                return Err(SettingsError::Paths { kind: custom.kind.clone(), count });
            }
            let same =
                |other: &&CustomKind| other.group == custom.group && other.kind == custom.kind;
            if kinds.iter().filter(same).count() > 1 {
                return Err(SettingsError::Twice(custom.kind.clone()));
            }
        }
        Ok(Self(kinds))
    }
}

/// Where objects of a kind have images.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomKind {
    /// The group, without a version: `argoproj.io`. Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind: `Rollout`.
    pub kind: String,
    /// Where there are pod templates: metadata and the spec of a pod.
    #[serde(default)]
    pub pod_templates: Vec<ImagePath>,
    /// Where there are specs of pods.
    #[serde(default)]
    pub pod_specs: Vec<ImagePath>,
    /// Where there are images.
    #[serde(default)]
    pub images: Vec<ImagePath>,
}

/// A way into an object: `spec.steps[*].image`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ImagePath(Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The member of this name.
    Member(String),
    /// Every element of a list, or every member of an object.
    Each,
}

impl ImagePath {
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl TryFrom<String> for ImagePath {
    type Error = SettingsError;

    fn try_from(path: String) -> Result<Self, SettingsError> {
        path.parse()
    }
}

impl FromStr for ImagePath {
    type Err = SettingsError;

    fn from_str(path: &str) -> Result<Self, SettingsError> {
        let malformed = || SettingsError::Path(path.to_owned());
        if path.len() > MAX_PATH {
            return Err(malformed());
        }
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let mut steps = Vec::new();
        for part in path.split('.') {
            let name = part.trim_end_matches("[*]");
            if name.is_empty() || !name.bytes().all(is_part) {
                return Err(malformed());
            }
            steps.push(Step::Member(name.to_owned()));
            let each = (part.len() - name.len()) / "[*]".len();
            steps.extend((0..each).map(|_| Step::Each));
        }
        if steps.len() > MAX_STEPS {
            return Err(malformed());
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Member(name) if at == 0 => f.write_str(name)?,
                Step::Member(name) => write!(f, ".{name}")?,
                Step::Each => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
