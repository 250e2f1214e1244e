use super::*;
use portcullis_proto::v1::Action;

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const LIMIT: Duration = Duration::from_secs(3_600);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn request(image: &str, namespace: &str) -> v1::CheckRequest {
    let context = v1::Context { namespace: namespace.to_owned(), ..v1::Context::default() };
    let container = v1::Container { name: "main".to_owned(), image: image.to_owned() };
    v1::CheckRequest {
        context: Some(context),
        containers: vec![container],
        explain: false,
        purpose: 0,
    }
}

fn response(action: Action) -> v1::CheckResponse {
    let decision = v1::Decision {
        container: "main".to_owned(),
        digest: DIGEST.to_owned(),
        action: action.into(),
        message: "why".to_owned(),
        ..v1::Decision::default()
    };
    v1::CheckResponse {
        action: action.into(),
        decisions: vec![decision],
        policy_revision: "r1".to_owned(),
        max_age: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        vary: vec!["namespace".to_owned(), "image".to_owned()],
        ..v1::CheckResponse::default()
    }
}

fn pinned() -> String {
    format!("registry.example/app@{DIGEST}")
}

fn known() -> LastKnown {
    LastKnown::new(LIMIT, false, 1024 * 1024)
}

#[test]
fn an_admission_is_denied_by_newer_advice_and_allowed_by_none() {
    let known = known();
    let asked = request(&pinned(), "a");
    let advice = v1::CheckRequest { purpose: v1::Purpose::Advice.into(), ..asked.clone() };
    let found = |asked, second| known.find(asked, at(second)).map(|(found, _)| found.action());
    known.keep(&advice, &response(Action::Allow), at(0));
    assert_eq!((found(&asked, 0), found(&advice, 0)), (None, Some(Action::Allow)));
    known.keep(&advice, &response(Action::Deny), at(1));
    assert_eq!(found(&asked, 1), Some(Action::Deny));
    known.keep(&asked, &response(Action::Allow), at(2));
    assert_eq!((found(&asked, 2), found(&advice, 2)), (Some(Action::Allow), Some(Action::Allow)));
    known.keep(&advice, &response(Action::Deny), at(3));
    assert_eq!(found(&asked, 3), Some(Action::Deny));
    known.keep(&advice, &response(Action::Allow), at(4));
    assert_eq!(found(&asked, 4), Some(Action::Allow));
}

#[test]
fn a_denial_does_not_outlive_what_was_said_after_it() {
    // By tag: where tags are configured to count an allow holds, and else it only ends the denial before it.
    for (tags, allowed) in [(true, Some(Action::Allow)), (false, None)] {
        let known = LastKnown::new(LIMIT, tags, 1024 * 1024);
        let asked = request("registry.example/app:v1", "a");
        let advice = v1::CheckRequest { purpose: v1::Purpose::Advice.into(), ..asked.clone() };
        let found = |asked, second| known.find(asked, at(second)).map(|(found, _)| found.action());
        known.keep(&advice, &response(Action::Deny), at(0));
        known.keep(&asked, &response(Action::Deny), at(0));
        assert_eq!((found(&asked, 0), found(&advice, 0)), (Some(Action::Deny), Some(Action::Deny)));
        // The rules are changed back: it is mutated, and admitted by its digest from now on.
        known.keep(&advice, &response(Action::Allow), at(0));
        assert_eq!((found(&asked, 1), found(&advice, 1)), (None, allowed));
        // An allow that ends by the clock lifts nothing after that.
        let mut ends = response(Action::Allow);
        ends.changes_at = Some(prost_types::Timestamp { seconds: 1_000_009, nanos: 0 });
        known.keep(&advice, &ends, at(2));
        assert_eq!((found(&asked, 8), found(&asked, 9)), (None, Some(Action::Deny)));
        // And neither does one of before.
        known.keep(&asked, &response(Action::Deny), at(3));
        assert_eq!((found(&asked, 3), found(&advice, 3)), (Some(Action::Deny), Some(Action::Deny)));
    }
}

#[test]
fn what_was_known_counts_until_its_limit_and_where_it_was_said() {
    let known = known();
    let asked = request(&pinned(), "a");
    known.keep(&asked, &response(Action::Allow), at(0));
    let (found, age) = known.find(&asked, at(3_600)).unwrap();
    assert_eq!((found.action(), age), (Action::Allow, LIMIT));
    assert!(known.find(&asked, at(3_601)).is_none());
    assert!(known.find(&request(&pinned(), "b"), at(1)).is_none(), "of another namespace");
    assert!(known.find(&request("other", "a"), at(1)).is_none(), "of another image");
    // A clock that was set back.
    let early = UNIX_EPOCH + Duration::from_secs(1_000_000 - SKEW.as_secs() - 1);
    assert!(known.find(&asked, early).is_none());
}

#[test]
fn an_allow_of_a_tag_counts_only_where_that_is_configured_and_a_denial_everywhere() {
    for (tags, action, expected) in [
        (false, Action::Allow, false),
        (false, Action::Audit, false),
        (false, Action::Deny, true),
        (true, Action::Allow, true),
    ] {
        let known = LastKnown::new(LIMIT, tags, 1024 * 1024);
        let asked = request("registry.example/app:v1", "a");
        known.keep(&asked, &response(action), at(0));
        assert_eq!(known.find(&asked, at(1)).is_some(), expected, "{tags} {action:?}");
    }
}

#[test]
fn what_may_not_be_reused_is_not_kept() {
    let known = known();
    let asked = request(&pinned(), "a");
    known.keep(&asked, &v1::CheckResponse { max_age: None, ..response(Action::Allow) }, at(0));
    let mut justified = asked.clone();
    justified.context.as_mut().unwrap().break_glass = "fire".to_owned();
    known.keep(&justified, &response(Action::Allow), at(0));
    let vary = vec!["moon".to_owned()];
    known.keep(&asked, &v1::CheckResponse { vary, ..response(Action::Allow) }, at(0));
    assert_eq!(known.size(), (0, 0));
}

#[test]
fn what_is_said_later_takes_the_place_of_what_was_said_before_whatever_it_depends_on() {
    let known = known();
    let asked = request(&pinned(), "a");
    let all = |action| v1::CheckResponse { vary: vec!["image".to_owned()], ..response(action) };
    known.keep(&asked, &all(Action::Allow), at(0));
    known.keep(&asked, &response(Action::Deny), at(1));
    assert_eq!(known.find(&asked, at(2)).unwrap().0.action(), Action::Deny);
    known.keep(&asked, &all(Action::Allow), at(3));
    assert_eq!(known.find(&asked, at(4)).unwrap().0.action(), Action::Allow);
    // Of two that both fit a question, the later one holds.
    known.keep(&request(&pinned(), "b"), &all(Action::Deny), at(5));
    let other = LastKnown::new(LIMIT, false, 1024 * 1024);
    other.keep(&request(&pinned(), "b"), &response(Action::Allow), at(0));
    other.keep(&request(&pinned(), "c"), &all(Action::Deny), at(1));
    assert_eq!(other.find(&request(&pinned(), "b"), at(2)).unwrap().0.action(), Action::Deny);
    // What may not be reused says that what was known holds no longer.
    known.keep(&asked, &v1::CheckResponse { max_age: None, ..response(Action::Deny) }, at(6));
    assert!(known.find(&asked, at(7)).is_none());
    assert_eq!(known.size().0, 0);
}

#[test]
fn an_answer_with_exemptions_that_are_not_told_is_not_kept() {
    let known = known();
    let mut answer = response(Action::Allow);
    answer.decisions[0].exemptions_total = 1;
    known.keep(&request(&pinned(), "a"), &answer, at(0));
    assert_eq!(known.size().0, 0);
}

#[test]
fn an_answer_that_stands_on_an_exemption_ends_with_it() {
    let known = known();
    let mut answer = response(Action::Allow);
    let until = prost_types::Timestamp { seconds: 1_000_060, nanos: 0 };
    answer.decisions[0].exemptions =
        vec![v1::AppliedExemption { until: Some(until), ..v1::AppliedExemption::default() }];
    let asked = request(&pinned(), "a");
    known.keep(&asked, &answer, at(0));
    assert!(known.find(&asked, at(59)).is_some());
    assert!(known.find(&asked, at(60)).is_none());
}

#[test]
fn where_what_was_said_last_has_ended_nothing_of_before_holds() {
    let (known, asked) = (known(), request(&pinned(), "a"));
    known.keep(&asked, &response(Action::Allow), at(0));
    let mut answer = response(Action::Allow);
    answer.vary = Vec::new();
    let until = prost_types::Timestamp { seconds: 1_000_060, nanos: 0 };
    answer.decisions[0].exemptions =
        vec![v1::AppliedExemption { until: Some(until), ..v1::AppliedExemption::default() }];
    // Another namespace, by a policy that does not look at it: both are about what is asked.
    known.keep(&request(&pinned(), "b"), &answer, at(1));
    assert_eq!(known.size().0, 2);
    assert!(known.find(&asked, at(59)).is_some());
    assert!(known.find(&asked, at(60)).is_none());
}

#[test]
fn the_oldest_is_dropped_one_past_the_bound() {
    let known = known();
    let asked = |n: usize| request(&pinned(), &format!("n{n}"));
    known.keep(&asked(0), &response(Action::Allow), at(0));
    let (_, one) = known.size();
    let bounded = LastKnown::new(LIMIT, false, 3 * one);
    for n in 0..3 {
        bounded.keep(&asked(n), &response(Action::Allow), at(0));
    }
    // Asked again, it is the newest.
    bounded.keep(&asked(0), &response(Action::Allow), at(1));
    assert_eq!(bounded.size(), (3, 3 * one));
    bounded.keep(&asked(3), &response(Action::Allow), at(1));
    assert_eq!(bounded.size(), (3, 3 * one));
    let found: Vec<_> = (0..4).map(|n| bounded.find(&asked(n), at(2)).is_some()).collect();
    assert_eq!(found, [true, false, true, true]);
}

#[test]
fn t149_a_file_that_is_tampered_with_or_of_another_cluster_or_too_old_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("known");
    let asked = request(&pinned(), "a");
    let before = known();
    assert_eq!(before.read(&path, "east", at(0)).unwrap(), 0, "there is none yet");
    before.keep(&asked, &response(Action::Deny), at(0));
    before.write(&path, "east", at(0)).unwrap();

    let after = known();
    assert_eq!(after.read(&path, "east", at(10)).unwrap(), 1);
    assert_eq!(after.find(&asked, at(10)).unwrap().0.decisions[0].message, "why");

    let other = known();
    assert!(matches!(other.read(&path, "west", at(10)), Err(KnownError::Cluster(_))));
    assert_eq!(other.read(&path, "east", at(3_601)).unwrap(), 0, "older than the limit");
    assert!(other.find(&asked, at(10)).is_none());

    let good = std::fs::read(&path).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(
            matches!(other.read(&path, "east", at(0)), Err(KnownError::Damaged(_))),
            "{position}"
        );
    }
    for length in 0..good.len() {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(
            matches!(other.read(&path, "east", at(0)), Err(KnownError::Damaged(_))),
            "{length}"
        );
    }
    assert_eq!(other.size().0, 0);
}

#[test]
fn an_allow_does_not_outlive_what_the_clock_changes() {
    let known = known();
    let asked = request(&pinned(), "a");
    let changes_at = Some(prost_types::Timestamp { seconds: 1_000_060, nanos: 0 });
    known.keep(&asked, &v1::CheckResponse { changes_at, ..response(Action::Allow) }, at(0));
    assert!(known.find(&asked, at(59)).is_some());
    assert!(known.find(&asked, at(60)).is_none());
}
