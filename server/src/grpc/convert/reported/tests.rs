//! What is no report, and one past each bound.

use prost::Message as _;
use tonic_types::StatusExt as _;

use super::*;

fn report(number: u64) -> v1::Answered {
    v1::Answered {
        run: vec![1; 16],
        number,
        answered_at: Some(prost_types::Timestamp { seconds: 1_000, nanos: 5 }),
        context: Some(v1::Context { namespace: "shop".to_owned(), ..v1::Context::default() }),
        containers: vec![v1::AnsweredContainer {
            name: "main".to_owned(),
            image: "reg.io/app:v1".to_owned(),
            digest: Digest::of(b"app").to_string(),
            action: v1::Action::Deny.into(),
            rule: "good-only".to_owned(),
            reason: "it is bad".to_owned(),
        }],
        answered_by: v1::AnsweredBy::LastKnown.into(),
        cause: "unreachable".to_owned(),
        evaluated_at: Some(prost_types::Timestamp { seconds: 900, nanos: 0 }),
        policy_revision: "r1".to_owned(),
        cut: true,
    }
}

fn request(answered: Vec<v1::Answered>) -> v1::ReportAnsweredRequest {
    v1::ReportAnsweredRequest { run: vec![1; 16], dropped: 7, answered }
}

fn read(request: &v1::ReportAnsweredRequest) -> Result<Batch, Status> {
    reports(&request.encode_to_vec())
}

/// Asserts that a change makes it be refused, and that `field` is named.
#[track_caller]
fn refused(field: &str, change: impl Fn(&mut v1::ReportAnsweredRequest)) {
    let mut request = request(vec![report(1)]);
    change(&mut request);
    let status = read(&request).unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().unwrap();
    assert_eq!(details.field_violations[0].field, field, "{status:?}");
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let batch = read(&request(vec![report(1), report(3)])).unwrap();
    assert_eq!((batch.run, batch.dropped, batch.reports.len()), ([1; 16], 7, 2));
    let Report { run, answered, context, containers, policy_revision, cut } = &batch.reports[1];
    assert_eq!((run, answered.number, &*answered.cause), (&[1; 16], 3, "unreachable"));
    assert_eq!((answered.by, &*answered.run), (AnsweredBy::LastKnown, &*"01".repeat(16)));
    assert_eq!(answered.at.unix_timestamp_nanos(), 1_000_000_000_005);
    assert_eq!(answered.evaluated_at.unwrap().unix_timestamp(), 900);
    assert_eq!((&*context.namespace, &**policy_revision, *cut), ("shop", "r1", true));
    let Container { name, image, digest, action, rule, reason } = &containers[0];
    assert_eq!((&**name, &**image, *action), ("main", "reg.io/app:v1", Action::Deny));
    assert_eq!((*digest, &**rule), (Some(Digest::of(b"app")), "good-only"));
    assert_eq!(reason, "it is bad");
    assert!(read(&request(Vec::new())).unwrap().reports.is_empty());
}

#[test]
fn what_is_no_report_is_refused_and_the_field_is_named() {
    let first = |change: fn(&mut v1::Answered)| {
        move |request: &mut v1::ReportAnsweredRequest| change(&mut request.answered[0])
    };
    refused("run", |request| _ = request.run.pop());
    refused("answered[0].run", first(|report| report.run.push(0)));
    refused("answered[0].number", first(|report| report.number = 0));
    refused("answered[0].answered_by", first(|report| report.answered_by = 0));
    refused("answered[0].answered_by", first(|report| report.answered_by = 9));
    refused("answered[0].containers", first(|report| report.containers.clear()));
    refused("answered[0].containers[0].action", first(|report| report.containers[0].action = 0));
    let digest = |report: &mut v1::Answered| report.containers[0].digest.push('0');
    refused("answered[0].containers[0].digest", first(digest));
    let late = |report: &mut v1::Answered| {
        report.answered_at = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    };
    refused("answered[0].answered_at", first(late));
    refused("answered[1].number", |request| request.answered.push(report(1)));
}

#[test]
fn one_past_each_bound_is_refused() {
    let all = |count: usize| {
        let reports = (1..).take(count).map(|number| v1::Answered {
            context: None,
            evaluated_at: None,
            ..report(number)
        });
        request(reports.collect())
    };
    assert_eq!(read(&all(MAX_REPORTS)).unwrap().reports.len(), MAX_REPORTS);
    refused("answered", |request| *request = all(MAX_REPORTS + 1));
    let small = v1::AnsweredContainer { action: 1, ..v1::AnsweredContainer::default() };
    let wide = |count| {
        let half = vec![small.clone(); MAX_CONTAINERS / 2];
        let rest = vec![small.clone(); count - MAX_CONTAINERS / 2];
        let with = |number, containers| v1::Answered { containers, ..report(number) };
        request(vec![with(1, half), with(2, rest)])
    };
    assert!(read(&wide(MAX_CONTAINERS)).is_ok());
    refused("answered", |request| *request = wide(MAX_CONTAINERS + 1));
    let text = |length: usize| "x".repeat(length);
    for (field, limit) in [
        ("containers[0].name", MAX_NAME),
        ("containers[0].image", MAX_IMAGE),
        ("containers[0].rule", MAX_NAME),
        ("containers[0].reason", MAX_REASON),
        ("cause", MAX_CAUSE),
        ("policy_revision", MAX_NAME),
    ] {
        let with = |request: &mut v1::ReportAnsweredRequest, text: String| {
            let report = &mut request.answered[0];
            match field {
                "cause" => report.cause = text,
                "policy_revision" => report.policy_revision = text,
                "containers[0].name" => report.containers[0].name = text,
                "containers[0].image" => report.containers[0].image = text,
                "containers[0].rule" => report.containers[0].rule = text,
                _ => report.containers[0].reason = text,
            }
        };
        let mut longest = request(vec![report(1)]);
        with(&mut longest, text(limit));
        assert!(read(&longest).is_ok(), "{field}");
        refused(&format!("answered[0].{field}"), |request| with(request, text(limit + 1)));
    }
    let mut whole = request(vec![report(1)]);
    whole.answered[0].containers[0].reason = text(MAX_BYTES);
    let bytes = whole.encode_to_vec();
    assert!(reports(&bytes[..=MAX_BYTES]).unwrap_err().message().contains("1048576 allowed"));
    assert!(reports(&bytes[..MAX_BYTES]).unwrap_err().message().contains("malformed"));
}
