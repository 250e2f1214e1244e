//! A violation in, a sentence for people out.

mod condition;
mod denial;

use std::fmt::Write;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Condition, MAX_MESSAGE, Notice, NoticeKind, Refusal, Violation};
use crate::evidence::Cause;
use crate::findings::{FindingRef, FixState};
use crate::image::Reference;

pub use self::denial::{MAX_DENIAL, MAX_WARNING, MAX_WARNINGS, fold_denials, fold_warnings};

/// The most findings that a message names.
const NAMED: usize = 5;
/// The longest part of a finding, name of a rule and platform in a message, in bytes.
const MAX_PART: usize = 128;
/// The longest detail of a registry's or signer's fault in a message, in bytes.
const MAX_DETAIL: usize = 512;

impl Violation {
    /// What is wrong with `image`, in one line of at most [`MAX_MESSAGE`] bytes without control
    /// characters. It begins as Defender's messages do, and names the rule at its end.
    #[must_use]
    pub fn message(&self, image: &Reference) -> String {
        let platform = match &self.platform {
            Some(platform) => format!(" ({})", printable(&platform.to_string(), MAX_PART)),
            None => String::new(),
        };
        let text = format!("{image}{platform}: {}{}", self.reason(), self.named_findings());
        let rule = format!("; rule: {}", printable(&self.rule, MAX_PART));
        printable(&text, MAX_MESSAGE.saturating_sub(rule.len())) + &rule
    }

    /// What is wrong, without the image, the findings and the rule. Foreign words in it are cut and
    /// have no control characters.
    #[must_use]
    pub fn reason(&self) -> String {
        self.condition.reason()
    }

    /// What to do about it, for people.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        let has_fix = |finding: FindingRef<'_>| {
            finding.fix_state() == FixState::Fixed || finding.fixed().len() > 0
        };
        if self.total() > 0 && !self.findings().any(has_fix) {
            return "there is no fix for what is named: replace the packages or the base image, or \
                    ask for an exemption";
        }
        self.condition.cure()
    }

    /// When the newest scan finished whose findings count; `None` where it is not about findings.
    #[must_use]
    pub fn scanned_at(&self) -> Option<OffsetDateTime> {
        match self.condition {
            Condition::Stale { scanned_at, .. } => Some(scanned_at),
            _ => self.worst.scanned_at(),
        }
    }

    /// The worst findings in brackets: what, where, and the way out.
    fn named_findings(&self) -> String {
        let named: Vec<_> = self.findings().take(NAMED).map(describe).collect();
        if named.is_empty() {
            return String::new();
        }
        let more = match self.total().saturating_sub(named.len()) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        format!(" ({}{more})", named.join("; "))
    }
}

impl Notice {
    /// What should not pass in silence, in one line of at most [`MAX_MESSAGE`] bytes without control
    /// characters.
    #[must_use]
    pub fn message(&self) -> String {
        let platform = match &self.platform {
            Some(platform) => format!("{}: ", printable(&platform.to_string(), MAX_PART)),
            None => String::new(),
        };
        let passed = match &self.rule {
            Some(rule) => format!("; rule `{}` lets that pass", printable(rule, MAX_PART)),
            None => String::new(),
        };
        let what = match &self.kind {
            NoticeKind::Unscanned => "the image has no vulnerability report".to_owned(),
            NoticeKind::Unsupported => {
                "this registry is not configured for vulnerability reports".to_owned()
            }
            NoticeKind::Unavailable(cause) => format!(
                "it could not be found out whether the image has vulnerabilities: {}",
                failure(cause)
            ),
            NoticeKind::OutOfScope => "no rule is in scope".to_owned(),
            NoticeKind::UnsupportedRegistry => {
                "the image is in a registry that the rule does not apply to".to_owned()
            }
            NoticeKind::AllowedImage { pattern } => {
                format!("the image fits `{}`, which is allowed", printable(pattern, MAX_DETAIL))
            }
            NoticeKind::Cleared { by, ids, total } => {
                let by =
                    by.map_or("the report".to_owned(), |digest| format!("VEX document {digest}"));
                let ids = printable(&ids.join(", "), MAX_DETAIL);
                format!("{total} findings do not count, as {by} says: {ids}")
            }
            NoticeKind::BreakGlassRefused(Refusal::NotPermitted) => {
                "the reason given why the image must run lifts nothing: the policy does not permit \
                 break-glass here"
                    .to_owned()
            }
            NoticeKind::BreakGlassRefused(Refusal::NotRecorded) => {
                "the reason given why the image must run lifts nothing: its use is not on record, \
                 as of advice and dry runs none is, or because the record failed: the log of the \
                 service says why"
                    .to_owned()
            }
            NoticeKind::OldReport { scanned_at, .. } => format!(
                "a report scanned at {} is too old and was not considered",
                instant(*scanned_at)
            ),
            NoticeKind::EarlyReport { scanned_at, .. } => format!(
                "a report that says it was scanned at {}, in the future, was not considered",
                instant(*scanned_at)
            ),
            NoticeKind::Signature { detail, .. } => format!(
                "the signature of a report failed a check that the trust policy only logs: {}",
                printable(detail, MAX_DETAIL)
            ),
        };
        format!("{platform}{what}{passed}")
    }
}

/// What failed, and how exactly.
fn failure(cause: &Cause) -> String {
    format!("{} ({})", condition::of_kind(cause.kind), printable(&cause.detail, MAX_DETAIL))
}

/// `CVE-2024-1234 (critical) in openssl 3.0.1 -> 3.0.2`, as far as that is stated.
fn describe(finding: FindingRef<'_>) -> String {
    let part = |text: &str| printable(text, MAX_PART);
    let mut text = format!("{} ({})", part(finding.id()), finding.severity());
    if let Some(package) = finding.package() {
        text += &format!(" in {}", part(package));
    }
    if let Some(installed) = finding.installed() {
        text += &format!(" {}", part(installed));
    }
    let fixed: Vec<_> = finding.fixed().collect();
    if !fixed.is_empty() {
        text += &format!(" -> {}", part(&fixed.join(", ")));
    }
    text
}

/// As RFC 3339 has it, where that can write it.
pub(crate) fn instant(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

/// In the largest unit that is exact: `30d`, `36h`.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= length && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// `text` in at most `limit` bytes, in one line: characters that control a terminal or the
/// direction of writing are escaped, and where it was cut there is `…` (CASES T107b).
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    const CUT: char = '…';
    let mut printed = String::with_capacity(text.len().min(limit));
    // Where a cut leaves room for its mark.
    let mut cut = 0;
    for character in text.chars() {
        if is_hidden(character) {
            // Writing to a `String` does not fail.
            let _ = write!(printed, "{}", character.escape_unicode());
        } else {
            printed.push(character);
        }
        if printed.len() > limit {
            printed.truncate(cut);
            printed.push(CUT);
            break;
        }
        if printed.len() + CUT.len_utf8() <= limit {
            cut = printed.len();
        }
    }
    printed
}

const fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}
