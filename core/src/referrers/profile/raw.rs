//! A profile as it is written in, a checked one out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Kind, MAX_PROFILES, Profile, Profiles};
use crate::findings::Format;
use crate::policy::Glob;
use crate::signature::Allowed;

/// The most entries of one list of a profile.
pub const MAX_PROFILE_LIST: usize = 64;
/// The longest text of a profile, in bytes.
pub const MAX_PROFILE_TEXT: usize = 1_024;

/// Why something is not a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No profile at all.
    #[error("`profiles` is empty, so that nothing would count: list some, or leave it out")]
    None,
    /// More than [`MAX_PROFILES`].
    #[error("there are {0} profiles, more than the {MAX_PROFILES} allowed")]
    TooMany(usize),
    /// Two of one name.
    #[error("two profiles are called `{0}`")]
    NameTwice(String),
    /// A list that must have an entry.
    #[error("profile `{name}` has an empty `{field}`")]
    Empty {
        /// The profile.
        name: String,
        /// The list, or the text.
        field: &'static str,
    },
    /// A list with more than [`MAX_PROFILE_LIST`] entries.
    #[error("profile `{name}` has more than {MAX_PROFILE_LIST} entries in `{field}`")]
    TooLong {
        /// The profile.
        name: String,
        /// The list.
        field: &'static str,
    },
    /// A text longer than [`MAX_PROFILE_TEXT`].
    #[error("profile `{name}` has a text longer than {MAX_PROFILE_TEXT} bytes in `{field}`")]
    LongText {
        /// The profile.
        name: String,
        /// Where.
        field: &'static str,
    },
    /// A pattern with too many `*`.
    #[error("profile `{name}` has more than 16 `*` in `{pattern}`")]
    Pattern {
        /// The profile.
        name: String,
        /// The pattern.
        pattern: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Raw {
    name: String,
    #[serde(default)]
    kind: Kind,
    artifact_types: Vec<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    predicate_types: Vec<String>,
    #[serde(default)]
    formats: Vec<Format>,
    #[serde(default)]
    signers: Option<Vec<Allowed>>,
}

impl TryFrom<Raw> for Profile {
    type Error = ProfileError;

    fn try_from(raw: Raw) -> Result<Self, ProfileError> {
        let Raw { name, kind, artifact_types, annotations, predicate_types, formats, signers } =
            raw;
        let empty = |field| ProfileError::Empty { name: name.clone(), field };
        if name.is_empty() {
            return Err(empty("name"));
        }
        if artifact_types.is_empty() {
            return Err(empty("artifactTypes"));
        }
        // Nobody may sign what has no signers, which is surely not meant.
        if signers.as_ref().is_some_and(Vec::is_empty) {
            return Err(empty("signers"));
        }
        let signers = signers.unwrap_or_default();
        let lists = [
            ("artifactTypes", artifact_types.len()),
            ("annotations", annotations.len()),
            ("predicateTypes", predicate_types.len()),
            ("formats", formats.len()),
            ("signers", signers.len()),
        ];
        if let Some((field, _)) = lists.into_iter().find(|(_, count)| *count > MAX_PROFILE_LIST) {
            return Err(ProfileError::TooLong { name, field });
        }
        let texts = std::iter::once(("name", &name))
            .chain(artifact_types.iter().map(|text| ("artifactTypes", text)))
            .chain(annotations.iter().flat_map(|(k, v)| [("annotations", k), ("annotations", v)]))
            .chain(predicate_types.iter().map(|text| ("predicateTypes", text)));
        for (field, text) in texts {
            if text.len() > MAX_PROFILE_TEXT {
                let name = name.chars().take(MAX_PROFILE_LIST).collect();
                return Err(ProfileError::LongText { name, field });
            }
        }
        let annotations = annotations
            .into_iter()
            .map(|(key, pattern)| match Glob::parse(&pattern.replace('*', "**")) {
                Some(glob) => Ok((key, glob)),
                None => Err(ProfileError::Pattern { name: name.clone(), pattern }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { name, kind, artifact_types, annotations, predicate_types, formats, signers })
    }
}

impl TryFrom<Vec<Profile>> for Profiles {
    type Error = ProfileError;

    fn try_from(profiles: Vec<Profile>) -> Result<Self, ProfileError> {
        if profiles.is_empty() {
            return Err(ProfileError::None);
        }
        if profiles.len() > MAX_PROFILES {
            return Err(ProfileError::TooMany(profiles.len()));
        }
        let mut names = BTreeSet::new();
        match profiles.iter().find(|profile| !names.insert(profile.name.as_str())) {
            Some(twice) => Err(ProfileError::NameTwice(twice.name.clone())),
            None => Ok(Self(profiles)),
        }
    }
}
