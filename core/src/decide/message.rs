//! A violation in, a sentence for people out.

use std::fmt::Write;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Condition, MAX_MESSAGE, Notice, NoticeKind, Violation};
use crate::findings::{FindingRef, Severity};
use crate::image::Reference;
use crate::policy::Population;

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
        match &self.condition {
            Condition::MaxAllowed { population, level, limit, count } => {
                let fix = match population {
                    Population::All => "",
                    Population::Fixable => " with a fix",
                    Population::Unfixable => " without a fix",
                };
                let what = match level {
                    Severity::Unknown => format!("{count} CVEs of unknown severity{fix}"),
                    level => format!("{count} {level} or higher CVEs{fix}"),
                };
                format!("Image contains {what}, which is more than the allowed count of: {limit}")
            }
            Condition::Forbidden { id } => {
                format!(
                    "Image contains a vulnerability that is forbidden by policy: {}",
                    printable(id, MAX_DETAIL)
                )
            }
            Condition::UntrustedImage => {
                "The image is none of those that may be used by policy".to_owned()
            }
            Condition::Unscanned => "Unscanned images are not allowed by policy".to_owned(),
            Condition::Unsupported => {
                "Unscanned images are not allowed by policy, and this registry is not configured \
                 for vulnerability reports"
                    .to_owned()
            }
            Condition::Rejected(rejection) => format!(
                "The vulnerability report of the image cannot be trusted: {}",
                printable(&rejection.to_string(), MAX_DETAIL)
            ),
            Condition::Stale { scanned_at, max_age } => format!(
                "The last vulnerability scan of the image is too old: it finished at {}, more \
                 than {} ago",
                instant(*scanned_at),
                span(*max_age)
            ),
            Condition::Unconfirmed { age } => format!(
                "The vulnerability report of the image could not be confirmed with the registry \
                 for {}",
                span(*age)
            ),
            Condition::Withheld => {
                "The vulnerability report of the image was there before and is gone".to_owned()
            }
            Condition::Unavailable(cause) => format!(
                "It could not be found out whether the image has vulnerabilities: {}",
                printable(&cause.to_string(), MAX_DETAIL)
            ),
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
                printable(&cause.to_string(), MAX_DETAIL)
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
            NoticeKind::BreakGlassRefused => {
                "the reason given why the image must run lifts nothing: the policy does not permit \
                 break-glass here, or it could not be recorded"
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
