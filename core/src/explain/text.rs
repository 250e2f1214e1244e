//! The parts of an explanation in, sentences for people out: one line each, without control characters.

use std::fmt;

use super::{Glass, Nearly, Obstacle, Standing, Step};
use crate::decide::{instant, printable};
use crate::policy::MAX_SHOWN;

impl Standing {
    /// The word for it, as in the contract.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::InScope => "in_scope",
            Self::Disabled => "disabled",
            Self::OutOfScope(_) => "out_of_scope",
            Self::UnsupportedRegistry => "unsupported_registry",
            Self::AllowedImage { .. } => "allowed_image",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InScope => f.write_str("it is about the image"),
            Self::Disabled => f.write_str("it is not enabled"),
            Self::OutOfScope(mismatch) => write!(f, "{mismatch}"),
            Self::UnsupportedRegistry => {
                f.write_str("it leaves the image's registry alone (`unsupportedRegistries`)")
            }
            Self::AllowedImage { pattern } => {
                write!(f, "the image fits `{pattern}` of `allowedImages`")
            }
        }
    }
}

impl Obstacle {
    /// The word for it, as in the contract.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotBegun { .. } => "not_begun",
            Self::Ended { .. } => "ended",
            Self::OtherRules { .. } => "other_rules",
            Self::FixPublished { .. } => "fix_published",
            Self::FindingsOnly => "findings_only",
            Self::Matcher(_) => "matcher",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun { from } => write!(f, "it begins at {}", instant(*from)),
            Self::Ended { until } => write!(f, "it ended at {}", instant(*until)),
            Self::OtherRules { rules } => {
                f.write_str("it is for other rules:")?;
                rules.iter().try_for_each(|rule| write!(f, " `{}`", printable(rule, MAX_SHOWN)))
            }
            Self::FixPublished { id } => write!(f, "it ends with a fix, and `{id}` has one"),
            Self::FindingsOnly => {
                f.write_str("it ends with a fix, and so is not about the evidence")
            }
            Self::Matcher(mismatch) => write!(f, "{mismatch}"),
        }
    }
}

impl fmt::Display for Nearly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = printable(&self.name, MAX_SHOWN);
        write!(f, "exemption `{name}` is not applied to rule `{}`: {}", self.rule, self.obstacle)
    }
}

impl Glass {
    /// The word for it, as in the contract.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotNeeded => "not_needed",
            Self::Lifted(_) => "lifted",
            Self::Possible(_) => "possible",
            Self::NotPermitted => "not_permitted",
        }
    }
}

impl fmt::Display for Glass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded => f.write_str("nothing is denied"),
            Self::Lifted(name) => write!(f, "`{name}` lifted the denial"),
            Self::Possible(name) => write!(f, "`{name}` lifts the denial for whoever says why"),
            Self::NotPermitted => f.write_str("the policy does not permit it here"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = |count: usize| match count {
            1 => "1 finding".to_owned(),
            count => format!("{count} findings"),
        };
        match self {
            Self::Upgrade { package, installed, fixed, cures, .. } => {
                write!(f, "upgrade {package}")?;
                if !installed.is_empty() {
                    write!(f, " {}", installed.join(", "))?;
                }
                if !fixed.is_empty() {
                    write!(f, " → {}", fixed.join(", "))?;
                }
                write!(f, " (cures {})", findings(*cures))
            }
            Self::Exempt { id, packages, covers } => {
                write!(f, "exempt {id}")?;
                if !packages.is_empty() {
                    write!(f, " in {}", packages.join(", "))?;
                }
                write!(f, ", which has no fix (covers {})", findings(*covers))
            }
            Self::Evidence { rule, platform, todo, .. } => {
                f.write_str(todo)?;
                if let Some(platform) = platform {
                    write!(f, " (for {})", printable(&platform.to_string(), MAX_SHOWN))?;
                }
                write!(f, " (rule {})", printable(rule, MAX_SHOWN))
            }
        }
    }
}
