//! A decision in, what the API server tells a developer out: a message of some lines, or warnings.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use super::{MAX_DETAIL, MAX_PART, describe, instant, printable};
use crate::decide::{Action, Applied, Decision, NoticeKind, Refusal, Violation};
use crate::image::Reference;

/// The longest message about one container, and about all containers of one admission, in bytes.
pub const MAX_DENIAL: usize = 4096;
/// The longest warning, in bytes: the API server asks for at most 120 characters, and may cut what
/// is over 256.
pub const MAX_WARNING: usize = 120;
/// The most that all warnings of one admission take, in bytes.
pub const MAX_WARNINGS: usize = 4096;
/// The most violations beside the deciding one that a message names, and the most exemptions.
const MAX_BESIDE: usize = 8;
/// What each container gets at least of a message about several, in bytes.
const MIN_SHARE: usize = 256;
/// The longest name of a container, and of a rule, in a warning, in bytes.
const MAX_WARNING_NAME: usize = 32;
/// The longest list of findings that does not fit says so in this many bytes.
const MORE: usize = 32;

impl Decision {
    /// What a developer should know about the decision for `image` in `container`, in lines of which
    /// the most important come first, of at most [`MAX_DENIAL`] bytes; empty for an allow without a
    /// remark. The first line begins as Defender's messages do. Foreign words have no control
    /// characters.
    #[must_use]
    pub fn denial(&self, container: &str, image: &Reference, now: OffsetDateTime) -> String {
        let Some(deciding) = self.deciding() else {
            return self.remarks(container, image);
        };
        let mut lines = Lines::new(&deciding.headline(image));
        lines.add(&self.verdict(deciding, container, now));
        if let Some(lifted) = &self.break_glass {
            lines.add(&format!(
                "The denial was lifted by break-glass {}: {}",
                printable(&lifted.name, MAX_PART),
                printable(&lifted.justification, MAX_DETAIL)
            ));
        }
        for notice in &self.notices {
            if let NoticeKind::BreakGlassRefused(why) = notice.kind {
                lines.add(match why {
                    Refusal::NotPermitted => "Break-glass was asked for and is not permitted here",
                    Refusal::NotRecorded => {
                        "Break-glass was asked for and permitted, and is not on record: it lifts nothing"
                    }
                });
            }
        }
        lines.add(&format!("What to do: {}", deciding.cure()));
        lines.findings(deciding);
        let others = self.violations.iter().filter(|v| !v.deciding);
        lines.list(others, |violation| {
            let (rule, action) = (printable(&violation.rule, MAX_PART), violation.action.as_str());
            format!("Also by rule {rule} ({action}): {}", violation.reason())
        });
        lines.list(self.exemptions.iter(), ToString::to_string);
        lines.text
    }

    /// Which rule does what with which container, and how old the scan is.
    fn verdict(&self, deciding: &Violation, container: &str, now: OffsetDateTime) -> String {
        let container = match container {
            "" => String::new(),
            name => format!("container {}, ", printable(name, MAX_PART)),
        };
        let does = match deciding.action {
            Action::Deny => "denied",
            Action::Audit | Action::Allow => "audited",
        };
        let scanned = deciding.scanned_at().map(|at| format!(", scanned {}", ago(at, now)));
        let rule = printable(&deciding.rule, MAX_PART);
        format!("{container}{does} by rule: {rule}{}", scanned.unwrap_or_default())
    }

    /// What is to be said although nothing is violated.
    fn remarks(&self, container: &str, image: &Reference) -> String {
        if self.exemptions.is_empty() {
            return String::new();
        }
        let container = match container {
            "" => String::new(),
            name => format!(" in container {}", printable(name, MAX_PART)),
        };
        let mut lines = Lines::new(&format!("{image}: Allowed{container} because of exemptions"));
        lines.list(self.exemptions.iter(), ToString::to_string);
        lines.text
    }

    /// What is to be warned of about the image of `container`, most important first: each of at most
    /// [`MAX_WARNING`] bytes in one line, all together of at most [`MAX_WARNINGS`].
    #[must_use]
    pub fn warnings(&self, container: &str) -> Vec<String> {
        let container = match container {
            "" => String::new(),
            name => format!("{}: ", printable(name, MAX_WARNING_NAME)),
        };
        let glass = self.break_glass.iter().map(|lifted| {
            let name = printable(&lifted.name, MAX_WARNING_NAME);
            format!("denial lifted by break-glass {name}: {}", lifted.justification)
        });
        let deciding = self.violations.iter().filter(|v| v.deciding);
        let others = self.violations.iter().filter(|v| !v.deciding);
        let room = MAX_WARNING.saturating_sub(container.len());
        let violations = deciding.chain(others).map(|violation| violation.warning(room));
        let exemptions = self.exemptions.iter().map(ToString::to_string);
        let notices = self.notices.iter().map(super::Notice::message);
        let all = glass.chain(violations).chain(exemptions).chain(notices);
        let warnings = all.map(|text| printable(&format!("{container}{text}"), MAX_WARNING));
        let mut room = MAX_WARNINGS;
        warnings.map_while(|warning| fits(&mut room, warning)).collect()
    }
}

impl Violation {
    /// What is wrong with which image. Where there is no report it is said first that there is none,
    /// and then, in a line of its own, that such images are not allowed.
    fn headline(&self, image: &Reference) -> String {
        let platform = match &self.platform {
            Some(platform) => format!(" ({})", printable(&platform.to_string(), MAX_PART)),
            None => String::new(),
        };
        let none = match self.condition {
            crate::decide::Condition::Unscanned | crate::decide::Condition::Unsupported => {
                "No valid vulnerability report was found\n"
            }
            _ => "",
        };
        format!("{image}{platform}: {none}{}", self.reason())
    }

    /// In few words what is wrong, with the worst finding if there is `room` for it, and the rule.
    fn warning(&self, room: usize) -> String {
        let rule = format!(" (rule {})", printable(&self.rule, MAX_WARNING_NAME));
        let room = room.saturating_sub(rule.len());
        let summary = self.condition.summary();
        let worst =
            self.findings().next().map(|finding| format!("{summary}: {}", describe(finding)));
        let text = worst.filter(|text| text.len() <= room).unwrap_or(summary);
        printable(&text, room) + &rule
    }
}

/// Which exemption keeps what from counting, until when, and who answers for it: one line, in which
/// foreign words are cut and have no control characters.
impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| printable(text, MAX_PART);
        let what = match (self.condition, self.total()) {
            (Some(condition), _) => format!("the condition `{condition}`"),
            (None, 1) => "1 finding".to_owned(),
            (None, total) => format!("{total} findings"),
        };
        let until = self.until.map(|until| format!(" until {}", instant(until)));
        let ticket = self.ticket.as_deref().map(|ticket| format!(", {}", part(ticket)));
        write!(
            f,
            "Exemption {} keeps {what} from counting for rule {}{}: {} ({}{})",
            part(&self.name),
            part(&self.rule),
            until.unwrap_or_default(),
            part(&self.reason),
            part(&self.owner),
            ticket.unwrap_or_default()
        )
    }
}

/// Puts the messages about several containers, each as [`Decision::denial`] makes it, into one of at
/// most [`MAX_DENIAL`] bytes. Where they do not fit, what a short one leaves goes to the longer ones;
/// each is cut at whole lines; and what does not fit at all is counted.
#[must_use]
pub fn fold_denials(messages: &[String]) -> String {
    let messages: Vec<&str> =
        messages.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    let whole = messages.join("\n");
    if whole.len() <= MAX_DENIAL {
        return whole;
    }
    let shown = messages.len().min(MAX_DENIAL / MIN_SHARE - 1);
    let mut room = MAX_DENIAL - MORE;
    let mut shortest: Vec<usize> = (0..shown).collect();
    shortest.sort_by_key(|at| messages.get(*at).map_or(0, |text| text.len()));
    let mut cut: Vec<String> = vec![String::new(); shown];
    for (done, at) in shortest.into_iter().enumerate() {
        let share = room / (shown - done).max(1);
        if let (Some(text), Some(place)) = (messages.get(at), cut.get_mut(at)) {
            *place = cut_lines(text, share.saturating_sub(1));
            room = room.saturating_sub(place.len() + 1);
        }
    }
    let mut folded = cut.join("\n");
    if messages.len() > shown {
        folded += &format!("\nand {} containers more", messages.len() - shown);
    }
    folded
}

/// Puts the warnings about several containers, each as [`Decision::warnings`] makes them, into one
/// list of at most [`MAX_WARNINGS`] bytes: the first of each container before the second of any.
#[must_use]
pub fn fold_warnings(lists: &[Vec<String>]) -> Vec<String> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
    let in_turns = (0..longest).flat_map(|turn| lists.iter().filter_map(move |l| l.get(turn)));
    let mut room = MAX_WARNINGS;
    in_turns.map_while(|warning| fits(&mut room, printable(warning, MAX_WARNING))).collect()
}

fn fits(room: &mut usize, text: String) -> Option<String> {
    *room = room.checked_sub(text.len())?;
    Some(text)
}

/// As many whole lines of `text` as `limit` bytes hold, with a mark where there were more.
fn cut_lines(text: &str, limit: usize) -> String {
    const CUT: &str = "\n…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let limit = limit.saturating_sub(CUT.len());
    let end = text.match_indices('\n').map(|(at, _)| at).take_while(|at| *at <= limit).last();
    let first = || printable(text.lines().next().unwrap_or_default(), limit);
    let kept = end.and_then(|end| text.get(..end)).map_or_else(first, str::to_owned);
    kept + CUT
}

/// Lines of at most [`MAX_DENIAL`] bytes: one that does not fit is left out as a whole.
struct Lines {
    text: String,
}

impl Lines {
    fn new(first: &str) -> Self {
        Self { text: cut_lines(first, MAX_DENIAL) }
    }

    /// Adds a line if `reserve` bytes are left after it.
    fn try_add(&mut self, line: &str, reserve: usize) -> Option<()> {
        if self.text.len() + 1 + line.len() + reserve > MAX_DENIAL {
            return None;
        }
        self.text.push('\n');
        self.text.push_str(line);
        Some(())
    }

    fn add(&mut self, line: &str) {
        let _left_out = self.try_add(line, MORE);
    }

    /// The worst findings, and how many more there are.
    fn findings(&mut self, violation: &Violation) {
        let mut named = 0;
        for finding in violation.findings() {
            if self.try_add(&format!("- {}", describe(finding)), MORE).is_none() {
                break;
            }
            named += 1;
        }
        let more = violation.total().saturating_sub(named);
        if more > 0 {
            let _left_out = self.try_add(&format!("- and {more} more"), 0);
        }
    }

    /// Some items in a line each, and how many more there are.
    fn list<T>(&mut self, items: impl Iterator<Item = T> + Clone, line: impl Fn(T) -> String) {
        let total = items.clone().count();
        let mut named = 0;
        for item in items.take(MAX_BESIDE) {
            if self.try_add(&line(item), MORE).is_none() {
                break;
            }
            named += 1;
        }
        if total > named {
            let _left_out = self.try_add(&format!("and {} more", total - named), 0);
        }
    }
}

/// How long ago `at` was.
fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let Ok(age) = Duration::try_from(now - at) else {
        return "in the future".to_owned();
    };
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}
