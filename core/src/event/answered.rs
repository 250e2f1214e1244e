//! An answer that was given without the service in, the record of it out.
//!
//! It says what was answered and by whom. It is no decision of the rules: what was known of the image is not in
//! it, and nobody can decide it again from the record.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::stored::Grounds;
use super::{Event, MAX_LABELS, MAX_NAME, detail, kept, labels, name};
use crate::decide::{Action, Context, MAX_JUSTIFICATION, printable};
use crate::image::Digest;

/// The longest image of such an answer, in bytes: whoever answered may not have understood it.
pub const MAX_IMAGE: usize = 1024;
/// The longest word for why the service did not answer, in bytes.
pub const MAX_CAUSE: usize = 64;

/// What an answer was given from, where the service did not give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// What the service allowed to be kept.
    NearCache,
    /// What the service said last, because it could not be asked.
    LastKnown,
    /// A fail policy, because nothing was known: nobody looked at the image.
    FailPolicy,
}

impl AnsweredBy {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::NearCache, Self::LastKnown, Self::FailPolicy];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NearCache => "near_cache",
            Self::LastKnown => "last_known",
            Self::FailPolicy => "fail_policy",
        }
    }
}

/// By whom and when an answer was given without the service, in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// What it was given from.
    pub by: AnsweredBy,
    /// Why the service did not give it; empty where it need not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// When it was given, by the clock of who gave it.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// When the service gave the answer that it repeats.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub evaluated_at: Option<OffsetDateTime>,
    /// Names the run of whoever gave it, in hexadecimal.
    pub run: String,
    /// Its number in that run. An event with the same run, number and container is of the same answer.
    pub number: u64,
}

/// What is told of an answer about one container. All texts are foreign.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// When the service heard of it.
    pub time: OffsetDateTime,
    /// The answer.
    pub action: Action,
    /// The image, as it was asked about.
    pub image: &'a str,
    /// Digest of what the image names, where that was known.
    pub digest: Option<Digest>,
    /// Where it would run, whose own name of a container is not looked at.
    pub ctx: &'a Context,
    /// The container within the pod.
    pub container: &'a str,
    /// Revision of the policy that was applied; empty if none was.
    pub policy_revision: &'a str,
    /// The rule that decided; empty if none did.
    pub rule: &'a str,
    /// For people: why.
    pub reason: &'a str,
    /// Whether something was left out to make it shorter.
    pub cut: bool,
    /// By whom and when it was given.
    pub answered: &'a Answered,
}

impl Told<'_> {
    /// The image as it is shown.
    pub(super) fn image(&self) -> String {
        printable(self.image, MAX_IMAGE)
    }

    /// Whether something is not whole in what is shown of the image, or in the labels.
    pub(super) fn is_cut(&self) -> bool {
        let labels = [&self.ctx.namespace_labels, &self.ctx.pod_labels];
        self.cut || self.image() != self.image || labels.iter().any(|l| l.len() > MAX_LABELS)
    }

    /// Its grounds, which are few.
    pub(super) fn grounds(&self) -> Grounds {
        let some = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
        let answered = Answered {
            cause: printable(&self.answered.cause, MAX_CAUSE),
            run: printable(&self.answered.run, MAX_NAME),
            ..self.answered.clone()
        };
        Grounds {
            rule: some(&name(self.rule)),
            reason: some(&detail(self.reason)),
            answered: Some(answered),
            ..Grounds::default()
        }
    }
}

impl Event {
    /// Records what is `told`, as the event `id`.
    #[must_use]
    pub fn told(id: &str, told: &Told<'_>) -> Self {
        let Grounds { rule, reason, answered, .. } = told.grounds();
        let (ctx, policy_revision) = (told.ctx, name(told.policy_revision));
        let mut cut = told.is_cut();
        let mut whole = |text: &str, limit| kept(text, limit, &mut cut);
        let justification = whole(&ctx.break_glass, MAX_JUSTIFICATION);
        let mut name = |text: &str| whole(text, MAX_NAME);
        Self {
            id: name(id),
            time: told.time,
            action: told.action,
            cluster: name(&ctx.cluster),
            provider: name(&ctx.provider),
            account: name(&ctx.account),
            region: name(&ctx.region),
            namespace: name(&ctx.namespace),
            namespace_labels: labels(&ctx.namespace_labels, &mut name),
            workload_kind: name(&ctx.workload_kind),
            workload: name(&ctx.workload),
            pod: name(&ctx.pod),
            pod_labels: labels(&ctx.pod_labels, &mut name),
            service_account: name(&ctx.service_account),
            container: name(told.container),
            justification,
            image: told.image(),
            digest: told.digest,
            rule,
            reason,
            violations: Vec::new(),
            violations_total: 0,
            exemptions: Vec::new(),
            exemptions_total: 0,
            break_glass: None,
            notices: Vec::new(),
            notices_total: 0,
            evidence: Vec::new(),
            evidence_total: 0,
            whole: None,
            policy_revision,
            duration_us: 0,
            answered,
            cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::super::stored::{Stored, write_told};
    use super::*;
    use std::time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn answered() -> Answered {
        Answered {
            by: AnsweredBy::FailPolicy,
            cause: "unreachable".to_owned(),
            at: NOW - Duration::from_secs(60),
            evaluated_at: None,
            run: "07".repeat(16),
            number: 3,
        }
    }

    /// Asserts that what is stored reads as the event, and gives it.
    #[track_caller]
    fn check(told: &Told<'_>) -> serde_json::Value {
        let mut bytes = Vec::new();
        write_told(&mut bytes, told);
        let stored = Stored::read(&bytes).unwrap();
        assert_eq!(stored.answered().map(|answered| answered.by), Some(told.answered.by));
        let line = serde_json::to_value(stored.line("e-1", 1, |_| None)).unwrap();
        let event = Event::told("e-1", told);
        let mut expected = serde_json::to_value(Line::Decision(&event)).unwrap();
        expected["seq"] = 1.into();
        assert_eq!(line, expected);
        line
    }

    #[test]
    fn an_answer_of_a_fail_policy_is_an_event_that_says_so() {
        let (answered, ctx) = (answered(), Context { pod: "web".to_owned(), ..Context::default() });
        let told = Told {
            time: NOW,
            action: Action::Allow,
            image: "reg.io/app:v1",
            digest: None,
            ctx: &ctx,
            container: "main",
            policy_revision: "",
            rule: "",
            reason: "",
            cut: false,
            answered: &answered,
        };
        let line = check(&told);
        assert_eq!(line["answered"]["by"], "fail_policy");
        assert_eq!(line["answered"]["cause"], "unreachable");
        assert_eq!(line["answered"]["at"], "2026-03-01T11:59:00Z");
        assert_eq!((&line["action"], &line["pod"]), (&"allow".into(), &"web".into()));
        assert_eq!(
            (&line["rule"], &line["cut"]),
            (&serde_json::Value::Null, &serde_json::Value::Null)
        );
        assert_eq!(check(&Told { cut: true, ..told })["cut"], true);
    }

    #[test]
    fn what_is_told_is_escaped_and_cut_at_its_bounds() {
        let hostile = format!("\u{1b}\n\u{202e}{}", "x".repeat(4096));
        let (ctx, mut answered) = (Context::default(), answered());
        (answered.cause, answered.run) = (hostile.clone(), hostile.clone());
        let told = Told {
            time: NOW,
            action: Action::Deny,
            image: &hostile,
            digest: Some(Digest::of(b"image")),
            ctx: &ctx,
            container: &hostile,
            policy_revision: &hostile,
            rule: &hostile,
            reason: &hostile,
            cut: false,
            answered: &answered,
        };
        let line = check(&told);
        assert!(!line.to_string().contains('\u{202e}') && line.to_string().len() < 8 * 1024);
        assert_eq!(line["cut"], true);
        assert_eq!(line["image"].as_str().unwrap().len(), MAX_IMAGE);
        let longest = "x".repeat(MAX_IMAGE);
        let line = check(&Told { image: &longest, container: "", policy_revision: "", ..told });
        assert_eq!((&line["image"], &line["cut"]), (&longest.into(), &serde_json::Value::Null));
    }
}
