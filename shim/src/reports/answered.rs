//! A question and the answer that was given to it in, the report of it out, within the bounds of the service.

use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_proto::v1;
use prost::Message as _;

/// The most that a report has of labels, in bytes: all or none, so that none is taken for another.
const MAX_LABELS: usize = 16 * 1024;
/// The longest report, in bytes, with all that is told of each container.
const MAX_WHOLE: usize = 256 * 1024;
/// The longest name, image and reason.
const MAX_NAME: usize = 512;
const MAX_IMAGE: usize = 1024;
const MAX_REASON: usize = 512;
/// The longest justification that the service takes, in bytes.
const MAX_JUSTIFICATION: usize = 1024;

/// What an answer was given from.
pub(crate) enum Given<'a> {
    /// The near cache had it.
    Near(&'a v1::CheckResponse),
    /// The service could not be asked, for this cause, and this was its last answer.
    LastKnown(&'a v1::CheckResponse, &'static str),
    /// Nothing was known, for this cause: whether all may run.
    FailPolicy(bool, &'static str),
    /// The review could not be read, for this cause and in these words: whether all may run.
    Unread(bool, &'static str, &'a str),
}

impl Given<'_> {
    const fn by(&self) -> v1::AnsweredBy {
        match self {
            Self::Near(_) => v1::AnsweredBy::NearCache,
            Self::LastKnown(..) => v1::AnsweredBy::LastKnown,
            Self::FailPolicy(..) | Self::Unread(..) => v1::AnsweredBy::FailPolicy,
        }
    }

    const fn cause(&self) -> &'static str {
        match self {
            Self::Near(_) => "",
            Self::LastKnown(_, cause) | Self::FailPolicy(_, cause) | Self::Unread(_, cause, _) => {
                cause
            }
        }
    }

    const fn response(&self) -> Option<&v1::CheckResponse> {
        match self {
            Self::Near(response) | Self::LastKnown(response, _) => Some(response),
            Self::FailPolicy(..) | Self::Unread(..) => None,
        }
    }

    fn container(&self, at: usize, asked: v1::Container) -> v1::AnsweredContainer {
        let v1::Container { mut name, mut image } = asked;
        shorten_to(&mut name, MAX_NAME);
        shorten_to(&mut image, MAX_IMAGE);
        let found = self.response().and_then(|response| response.decisions.get(at));
        let Some(decision) = found else {
            let is_allowed = matches!(self, Self::FailPolicy(true, _) | Self::Unread(true, ..));
            let action = if is_allowed { v1::Action::Allow } else { v1::Action::Deny };
            let action = action.into();
            let reason = if let Self::Unread(_, _, said) = self {
                cut(said, MAX_REASON)
            } else {
                String::new()
            };
            return v1::AnsweredContainer { name, image, action, reason, ..Default::default() };
        };
        v1::AnsweredContainer {
            name,
            image,
            digest: decision.digest.clone(),
            action: decision.action,
            rule: cut(&decision.rule, MAX_NAME),
            reason: cut(&decision.message, MAX_REASON),
        }
    }
}

/// The report of an answer that was given at `now`. Its run and number are not in it yet.
pub(super) fn report(
    request: v1::CheckRequest,
    given: &Given<'_>,
    now: SystemTime,
) -> v1::Answered {
    let mut context = request.context.unwrap_or_default();
    // Of what could not be read nobody has looked at the lengths.
    if matches!(given, Given::Unread(..)) {
        context.namespace = cut(&context.namespace, MAX_NAME);
        context.pod = cut(&context.pod, MAX_NAME);
        for text in context.workload.iter_mut().flat_map(|it| [&mut it.kind, &mut it.name]) {
            *text = cut(text, MAX_NAME);
        }
    }
    let labels = context.namespace_labels.iter().chain(&context.pod_labels);
    let mut is_cut = labels.map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_LABELS;
    if is_cut {
        context.namespace_labels.clear();
        context.pod_labels.clear();
    }
    if context.break_glass.len() > MAX_JUSTIFICATION {
        shorten_to(&mut context.break_glass, MAX_JUSTIFICATION);
        is_cut = true;
    }
    let containers = request.containers.into_iter().enumerate();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let response = given.response();
    let mut report = v1::Answered {
        answered_at: Some(prost_types::Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        }),
        context: Some(context),
        containers: containers.map(|(at, asked)| given.container(at, asked)).collect(),
        answered_by: given.by().into(),
        cause: given.cause().to_owned(),
        evaluated_at: response.and_then(|response| response.evaluated_at),
        policy_revision: response.map_or("", |response| &response.policy_revision).to_owned(),
        cut: is_cut,
        ..v1::Answered::default()
    };
    if report.encoded_len() > MAX_WHOLE {
        shorten(&mut report);
    }
    report
}

/// Leaves out all but where, which images, and what was answered: no object is too long for that.
fn shorten(report: &mut v1::Answered) {
    report.cut = true;
    let context = report.context.take().unwrap_or_default();
    report.context = Some(v1::Context {
        cluster: context.cluster,
        namespace: cut(&context.namespace, MAX_NAME),
        pod: cut(&context.pod, MAX_NAME),
        ..v1::Context::default()
    });
    for container in &mut report.containers {
        container.rule.clear();
        container.reason.clear();
    }
}

/// Leaves at most so many bytes of a text.
fn shorten_to(text: &mut String, limit: usize) {
    text.truncate(text.floor_char_boundary(limit));
}

/// At most so many bytes of a text.
fn cut(text: &str, limit: usize) -> String {
    text.get(..text.floor_char_boundary(limit)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(containers: usize, label: usize, image: usize) -> v1::CheckRequest {
        let container = v1::Container { name: "main".to_owned(), image: "x".repeat(image) };
        let context = v1::Context {
            namespace: "shop".to_owned(),
            pod_labels: [("app".to_owned(), "x".repeat(label))].into(),
            ..v1::Context::default()
        };
        v1::CheckRequest {
            context: Some(context),
            containers: vec![container; containers],
            ..v1::CheckRequest::default()
        }
    }

    fn told(request: &v1::CheckRequest) -> v1::Answered {
        report(request.clone(), &Given::FailPolicy(true, "unreachable"), UNIX_EPOCH)
    }

    #[test]
    fn the_longest_labels_and_objects_are_cut_and_say_so() {
        let labels = |report: &v1::Answered| report.context.as_ref().unwrap().pod_labels.len();
        let longest = told(&request(1, MAX_LABELS - 3, 10));
        assert_eq!((longest.cut, labels(&longest)), (false, 1));
        let cut = told(&request(1, MAX_LABELS - 2, 10));
        assert_eq!((cut.cut, labels(&cut)), (true, 0));
        let mut justified = request(1, 1, 1);
        justified.context.as_mut().unwrap().break_glass = "x".repeat(MAX_JUSTIFICATION + 1);
        let justified = told(&justified);
        assert!(justified.cut);
        assert_eq!(justified.context.unwrap().break_glass.len(), MAX_JUSTIFICATION);
        // As many containers and as long images as the shim reads.
        let most = told(&request(256, 10, MAX_IMAGE));
        assert!(most.cut && most.encoded_len() < 512 * 1024, "{}", most.encoded_len());
        assert_eq!(most.containers.len(), 256);
        assert!(most.containers.iter().all(|container| container.image.len() == MAX_IMAGE));
        assert_eq!(most.context.unwrap().namespace, "shop");
    }

    #[test]
    fn a_report_says_what_was_answered_and_from_what() {
        let asked = request(1, 1, 3);
        let allowed = told(&asked);
        assert_eq!(allowed.answered_by(), v1::AnsweredBy::FailPolicy);
        assert_eq!(allowed.containers[0].action(), v1::Action::Allow);
        let denied = report(asked.clone(), &Given::FailPolicy(false, "refused"), UNIX_EPOCH);
        assert_eq!((denied.containers[0].action(), &*denied.cause), (v1::Action::Deny, "refused"));
        let decision = v1::Decision {
            action: v1::Action::Deny.into(),
            rule: "good-only".to_owned(),
            message: "é".repeat(MAX_REASON),
            ..v1::Decision::default()
        };
        let response = v1::CheckResponse {
            decisions: vec![decision],
            policy_revision: "r1".to_owned(),
            ..v1::CheckResponse::default()
        };
        let kept = report(asked, &Given::Near(&response), UNIX_EPOCH);
        let container = &kept.containers[0];
        assert_eq!((&*container.rule, container.reason.len()), ("good-only", MAX_REASON));
        assert_eq!((&*kept.policy_revision, &*kept.cause), ("r1", ""));
    }

    #[test]
    fn what_could_not_be_read_is_told_with_what_was_wrong() {
        let mut asked = request(1, 1, 0);
        asked.context.as_mut().unwrap().namespace = "n".repeat(MAX_NAME + 1);
        let said = "é".repeat(MAX_REASON);
        for (allows, action) in [(true, v1::Action::Allow), (false, v1::Action::Deny)] {
            let given = Given::Unread(allows, "too_large", &said);
            let unread = report(asked.clone(), &given, UNIX_EPOCH);
            let container = &unread.containers[0];
            assert_eq!(
                (unread.answered_by(), &*unread.cause),
                (v1::AnsweredBy::FailPolicy, "too_large")
            );
            assert_eq!((container.action(), &*container.image), (action, ""));
            assert_eq!(
                (container.reason.len(), unread.context.unwrap().namespace.len()),
                (MAX_REASON, MAX_NAME)
            );
        }
    }
}
