//! What was found out in, what the API server is to do out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::error::ReviewError;
use super::outcome::{Action, Cause, Decision, FailPolicy, Known, Outcome, Source};
use super::question::{Asked, Image, Level, Place, Review};
use super::response::{Annotation, Response};
use super::settings::{Enforcement, Settings};
use super::text::{fold, printable};
use super::{MAX_ANNOTATION, MAX_MESSAGE, MAX_WARNING, MAX_WARNINGS, pin};

/// The longest name of a container in a line, in bytes.
const MAX_NAME: usize = 32;
/// How much of an image's name a warning shows, in bytes.
const MAX_SHOWN: usize = 40;

/// What the API server is to do with an object whose images were asked about.
#[must_use]
pub fn validated(review: &Review, outcome: &Outcome<'_>, settings: &Settings) -> Response {
    let question = match &review.asked {
        Asked::Nothing(why) => return skipped(review, why.word()),
        Asked::Images(question) => question,
    };
    let missing = Known::Unknown(Cause::Failed);
    let mut found = Found::default();
    for (at, image) in question.images.iter().enumerate() {
        found.image(image, outcome.images.get(at).unwrap_or(&missing), outcome.fail_policy);
    }
    if review.object.level == Level::Pod {
        let blank = question.blank.iter();
        found.denials.extend(blank.map(|image| format!("{}there is no image", name_of(image))));
    }
    let mut response = allowed(review);
    found.annotate(&mut response.annotations, outcome);
    let enforcement = match review.object.level {
        Level::Pod => settings.pods,
        Level::Controller => settings.controllers,
    };
    let denials = std::mem::take(&mut found.denials);
    match enforcement {
        _ if denials.is_empty() => {}
        Enforcement::Deny => {
            response.allowed = false;
            response.message = fold(&denials, MAX_MESSAGE);
        }
        Enforcement::Warn => {
            response.annotations.insert(Annotation::Enforcement, "warn".to_owned());
            let what = match review.object.level {
                Level::Pod => "not enforced",
                Level::Controller => "pods will be denied",
            };
            let denied = denials.iter().map(|text| brief(format!("{what}: "), text));
            found.warnings.splice(..0, denied);
        }
    }
    response.warnings = bounded(found.warnings);
    response
}

/// What the API server is to change in a pod, so that what was decided about is what runs. It denies
/// nothing: others may change the object yet, and what comes of it is validated.
#[must_use]
pub fn mutated(review: &Review, outcome: &Outcome<'_>) -> Response {
    let question = match &review.asked {
        Asked::Nothing(why) => return skipped(review, why.word()),
        Asked::Images(question) => question,
    };
    let patch = pin::patch(review, question, outcome);
    let decision = if patch.is_empty() { "not_pinned" } else { "pinned" };
    let mut response = Response { patch, ..allowed(review) };
    response.annotations.insert(Annotation::Decision, decision.to_owned());
    response
}

/// What the API server is to do with an object that nobody asks about: it is taken. `cause` says why in one
/// word.
#[must_use]
pub fn skipped(review: &Review, cause: &str) -> Response {
    let mut response = allowed(review);
    response.annotations.insert(Annotation::Decision, "skipped".to_owned());
    response.annotations.insert(Annotation::Cause, printable(cause, MAX_ANNOTATION));
    response
}

/// What the API server is to do with an object that nobody asks about and whose review cannot be read. None
/// where not even its uid is known.
#[must_use]
pub fn skipped_unread(error: &ReviewError, cause: &str) -> Option<Response> {
    let uid = error.uid.clone()?;
    let annotations = BTreeMap::from([
        (Annotation::Decision, "skipped".to_owned()),
        (Annotation::Cause, printable(cause, MAX_ANNOTATION)),
    ]);
    Some(Response { uid, allowed: true, annotations, ..Response::default() })
}

/// What the API server is to do with an object whose review cannot be read. None where not even its uid is
/// known: then there is nothing that it would take for an answer.
#[must_use]
pub fn unreadable(error: &ReviewError, settings: &Settings) -> Option<Response> {
    let uid = error.uid.clone()?;
    let text = printable(&error.to_string(), MAX_MESSAGE);
    let annotations = BTreeMap::from([
        (Annotation::Decision, "unknown".to_owned()),
        (Annotation::Cause, error.fault.word().to_owned()),
    ]);
    let response = Response { uid, annotations, ..Response::default() };
    Some(match settings.unreadable {
        FailPolicy::Deny => {
            let message = fold(&[format!("{}: {text}", error.fault.word())], MAX_MESSAGE);
            Response { message, ..response }
        }
        FailPolicy::Allow => {
            let warning = format!("allowed though nobody looked at it: {text}");
            Response { allowed: true, warnings: bounded(vec![warning]), ..response }
        }
    })
}

fn allowed(review: &Review) -> Response {
    let mut annotations = BTreeMap::new();
    if review.dry_run {
        annotations.insert(Annotation::DryRun, "true".to_owned());
    }
    Response { uid: review.uid.clone(), allowed: true, annotations, ..Response::default() }
}

/// What is to be told of all images.
#[derive(Default)]
struct Found<'a> {
    denials: Vec<String>,
    warnings: Vec<String>,
    causes: BTreeSet<&'static str>,
    rules: BTreeSet<&'a str>,
    sources: BTreeSet<&'static str>,
    /// Each with its digest, as many as are told.
    images: String,
    worst: Option<Action>,
}

impl<'a> Found<'a> {
    fn image(&mut self, image: &Image, known: &'a Known<'_>, fail_policy: FailPolicy) {
        if image.place == Place::Unknown {
            let field = printable(&image.pointer, MAX_WARNING);
            self.warnings.push(format!("`{field}` is not known and was taken for an image"));
        }
        match known {
            Known::Decided(decision) => self.decided(image, decision),
            Known::Unknown(cause) => self.unknown(image, cause, fail_policy),
        }
    }

    fn decided(&mut self, image: &Image, decision: &'a Decision<'_>) {
        self.worst = self.worst.max(Some(decision.action));
        self.sources.insert(decision.source.word());
        self.tell(&decision.image, &decision.digest);
        if !decision.rule.is_empty() {
            self.rules.insert(&decision.rule);
        }
        if decision.source == Source::LastKnown {
            let name = name_of(image);
            self.warnings.push(format!("{name}no answer: what was known before decides"));
        }
        let told = || match &*decision.message {
            "" => Cow::Owned(format!("{} by rule: {}", image.image, decision.rule)),
            message => Cow::Borrowed(message),
        };
        match decision.action {
            Action::Deny => self.denials.push(told().into_owned()),
            Action::Audit => self.warnings.push(brief(name_of(image), &told())),
            Action::Allow => {}
        }
        for notice in &*decision.notices {
            self.warnings.push(name_of(image) + notice);
        }
    }

    /// Notes an image for the audit log, if there is room for it.
    fn tell(&mut self, image: &str, digest: &str) {
        if self.images.len() > MAX_ANNOTATION {
            return;
        }
        let space = if self.images.is_empty() { "" } else { " " };
        let parts = [space, image, if digest.is_empty() { "" } else { "=" }, digest];
        self.images.reserve(parts.iter().map(|part| part.len()).sum());
        parts.into_iter().for_each(|part| self.images.push_str(part));
    }

    fn unknown(&mut self, image: &Image, cause: &Cause, fail_policy: FailPolicy) {
        self.causes.insert(cause.word());
        let name = name_of(image);
        let why = cause.sentence();
        match (cause, fail_policy) {
            (Cause::Refused(message), _) => {
                let message = printable(message, MAX_MESSAGE);
                self.denials.push(format!("{}: {name}{why}: {message}", image.image));
            }
            (_, FailPolicy::Deny) => {
                self.denials.push(format!("{}: {name}{why}, and nothing runs unseen", image.image));
            }
            (_, FailPolicy::Allow) => {
                self.warnings.push(format!("{name}allowed though nobody looked at it: {why}"));
            }
        }
    }

    fn annotate(&mut self, annotations: &mut BTreeMap<Annotation, String>, outcome: &Outcome<'_>) {
        let decision = match self.worst {
            Some(Action::Deny) => "deny",
            _ if !self.causes.is_empty() => "unknown",
            _ if !self.denials.is_empty() => "deny",
            Some(Action::Audit) => "audit",
            Some(Action::Allow) => "allow",
            None => "skipped",
        };
        let joined = |words: Vec<&str>| words.join(" ");
        let all = [
            (Annotation::Decision, decision.to_owned()),
            (Annotation::Cause, joined(self.causes.iter().copied().collect())),
            (Annotation::Rules, joined(self.rules.iter().copied().collect())),
            (Annotation::Images, std::mem::take(&mut self.images)),
            (Annotation::Source, joined(self.sources.iter().copied().collect())),
            (Annotation::PolicyRevision, outcome.policy_revision.to_string()),
        ];
        let said = all.into_iter().filter(|(_, value)| !value.is_empty());
        annotations.extend(said.map(|(name, value)| (name, fitted(value, MAX_ANNOTATION))));
    }
}

/// `container web: `, for the beginning of a line.
fn name_of(image: &Image) -> String {
    let noun = match image.place {
        Place::Container | Place::Init | Place::Ephemeral => "container",
        Place::Volume => "volume",
        Place::Configured | Place::Unknown => "field",
    };
    match printable(&image.container, MAX_NAME) {
        name if name.is_empty() => String::new(),
        name => format!("{noun} {name}: "),
    }
}

/// Adds the first line to `line`, with room for the reason: the image that it begins with is without its digest,
/// and of a long name the end is there.
fn brief(mut line: String, text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let (image, reason) = first.split_once(": ").unwrap_or(("", first));
    let (name, _digest) = image.split_once("@sha256:").unwrap_or((image, ""));
    if image.is_empty() || name.contains(char::is_whitespace) {
        line.push_str(first);
        return line;
    }
    let from = name.ceil_char_boundary(name.len().saturating_sub(MAX_SHOWN));
    let cut = if from == 0 { "" } else { "…" };
    for part in [cut, name.get(from..).unwrap_or_default(), ": ", reason] {
        line.push_str(part);
    }
    line
}

/// Warnings, each short and in one line; those that are too many are counted.
fn bounded(warnings: Vec<String>) -> Vec<String> {
    let mut all: Vec<_> = warnings.into_iter().map(|text| fitted(text, MAX_WARNING)).collect();
    let mut seen = HashSet::with_capacity(all.len());
    let is_new: Vec<_> = all.iter().map(|text| seen.insert(text.as_str())).collect();
    let mut is_new = is_new.into_iter();
    all.retain(|_| is_new.next().unwrap_or_default());
    if all.len() > MAX_WARNINGS {
        let more = format!("and {} more warnings", all.len() - (MAX_WARNINGS - 1));
        all.truncate(MAX_WARNINGS - 1);
        all.push(more);
    }
    all
}

/// A text as [`printable`] has it. Of most texts that is no other, or a part.
fn fitted(mut text: String, limit: usize) -> String {
    let is_plain = text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    let Some(rest) = limit.checked_sub('…'.len_utf8()).filter(|_| is_plain) else {
        return printable(&text, limit);
    };
    if text.len() > limit {
        text.truncate(rest);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
