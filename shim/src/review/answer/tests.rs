use serde_json::{Value, json};

use super::*;
use crate::review::given::{containers, created, pod, pod_of, read_value};
use crate::review::read;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn decided(action: Action, message: &str) -> Known<'static> {
    Known::Decided(Decision {
        action,
        image: "docker.io/library/a:latest".into(),
        digest: DIGEST.into(),
        rule: if action == Action::Allow { "" } else { "no-critical" }.into(),
        message: message.to_owned().into(),
        notices: Vec::new().into(),
        source: Source::Service,
    })
}

fn outcome(images: Vec<Known<'_>>) -> Outcome<'_> {
    Outcome { images, fail_policy: FailPolicy::Allow, policy_revision: "7".into() }
}

fn review_of(images: &[&str]) -> Review {
    read_value(&created("", "Pod", &pod_of(images))).unwrap()
}

fn deployment() -> Review {
    let template = json!({"spec": {"containers": containers(&["a"])}});
    read_value(&created("apps", "Deployment", &json!({"spec": {"template": template}}))).unwrap()
}

fn answer(review: &Review, images: Vec<Known<'_>>) -> Response {
    validated(review, &outcome(images), &Settings::default())
}

fn written(response: &Response) -> Value {
    serde_json::from_slice(&response.to_json().unwrap()).unwrap()
}

#[test]
fn an_allow_is_written_as_the_api_server_reads_it() {
    let review = review_of(&["a"]);
    let answer = answer(&review, vec![decided(Action::Allow, "")]);
    let expected = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "allowed": true,
            "auditAnnotations": {
                "decision": "allow",
                "images": format!("docker.io/library/a:latest={DIGEST}"),
                "source": "service",
                "policy-revision": "7",
            },
        },
    });
    assert_eq!(written(&answer), expected);
}

#[test]
fn a_denial_has_code_and_message_and_the_audit_of_another_image_is_a_warning() {
    let review = review_of(&["a", "b"]);
    let known =
        vec![decided(Action::Deny, "a: bad\nupgrade"), decided(Action::Audit, "b: so so\nx")];
    let written = written(&answer(&review, known));
    let response = &written["response"];
    assert_eq!(response["allowed"], false);
    let status = json!({"code": 403, "reason": "Forbidden", "message": "a: bad\nupgrade"});
    assert_eq!(response["status"], status);
    assert_eq!(response["warnings"], json!(["container c1: b: so so"]));
    assert_eq!(response["auditAnnotations"]["decision"], "deny");
    assert_eq!(response["auditAnnotations"]["rules"], "no-critical");
}

#[test]
fn a_denial_of_what_makes_pods_is_a_warning_unless_configured() {
    let known = || vec![decided(Action::Deny, "a: bad\nupgrade")];
    let response = answer(&deployment(), known());
    assert!(response.allowed);
    assert_eq!(response.warnings, ["pods will be denied: a: bad"]);
    assert_eq!(response.annotations[&Annotation::Decision], "deny");
    assert_eq!(response.annotations[&Annotation::Enforcement], "warn");

    let strict = Settings { controllers: Enforcement::Deny, ..Settings::default() };
    assert!(!validated(&deployment(), &outcome(known()), &strict).allowed);
    let mild = Settings { pods: Enforcement::Warn, ..Settings::default() };
    let response = validated(&review_of(&["a"]), &outcome(known()), &mild);
    assert_eq!(
        (response.allowed, &*response.warnings),
        (true, &["not enforced: a: bad".to_owned()][..])
    );
}

#[test]
fn a_warning_says_why_however_long_the_image_is() {
    let name = "1.dkr.ecr.eu-central-1.amazonaws.com/a/long/repository/of/the/web/team:1.0";
    let why = "Image contains 4 critical or higher CVEs";
    let known =
        |action| vec![decided(action, &format!("{name}@{DIGEST}: {why}; rule: no-critical"))];
    let audit = answer(&review_of(&["a"]), known(Action::Audit)).warnings.concat();
    let shown = format!("…{}: {why}", name.get(name.len() - MAX_SHOWN..).unwrap());
    assert!(
        audit.starts_with(&format!("container c0: {shown}")) && audit.len() <= MAX_WARNING,
        "{audit}"
    );
    let told = answer(&deployment(), known(Action::Deny)).warnings.concat();
    assert!(told.starts_with(&format!("pods will be denied: {shown}")), "{told}");
    // At the bound it is whole.
    let whole = name.get(name.len() - MAX_SHOWN..).unwrap();
    let answer =
        answer(&review_of(&["a"]), vec![decided(Action::Audit, &format!("{whole}: {why}"))]);
    assert_eq!(answer.warnings, [format!("container c0: {whole}: {why}")]);
}

#[test]
fn t069_of_fifty_containers_one_denial_denies_and_all_reasons_are_listed() {
    let names: Vec<_> = (0..50).map(|at| format!("image-{}", at % 20)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let review = review_of(&names);
    let one = |at: usize| {
        let denied = decided(Action::Deny, "image-7: bad\nmuch to tell");
        if at == 27 { denied } else { decided(Action::Allow, "") }
    };
    let response = answer(&review, (0..50).map(one).collect());
    assert_eq!((response.allowed, &*response.message), (false, "image-7: bad\nmuch to tell"));

    let long = "what to do about it\n".repeat(200);
    let each = |at: usize| decided(Action::Deny, &format!("reason {at}.\n{long}"));
    let response = answer(&review, (0..40).map(each).chain((40..50).map(one)).collect());
    assert!(!response.allowed && response.message.len() <= MAX_MESSAGE);
    for at in 0..40 {
        let reason = format!("reason {at}.");
        assert!(response.message.lines().any(|line| line == reason), "{}", response.message);
    }
    let response = answer(&review, (0..50).map(each).collect());
    assert!(response.message.len() <= MAX_MESSAGE);
    assert!(response.message.ends_with("\nand 8 more"), "{}", response.message);
}

#[test]
fn an_image_that_nothing_is_known_of_is_told_or_denied() {
    let review = review_of(&["a"]);
    let causes = [
        (Cause::Unreachable, "unreachable"),
        (Cause::Deadline, "deadline"),
        (Cause::Overloaded, "overloaded"),
        (Cause::Forbidden, "forbidden"),
        (Cause::Failed, "failed"),
    ];
    for (cause, word) in causes {
        let mut outcome = outcome(vec![Known::Unknown(cause)]);
        let response = validated(&review, &outcome, &Settings::default());
        assert!(response.allowed);
        let [warning] = &*response.warnings else { panic!("{response:?}") };
        let told = "container c0: allowed though nobody looked at it: the decision service ";
        assert!(warning.starts_with(told), "{warning}");
        assert_eq!(response.annotations[&Annotation::Decision], "unknown");
        assert_eq!(response.annotations[&Annotation::Cause], word);
        outcome.fail_policy = FailPolicy::Deny;
        let response = validated(&review, &outcome, &Settings::default());
        assert!(!response.allowed && response.message.starts_with("a: container c0: the decision"));
    }
    // One that is missing in what was found out.
    let mut outcome = outcome(Vec::new());
    outcome.fail_policy = FailPolicy::Deny;
    assert!(!validated(&review, &outcome, &Settings::default()).allowed);
}

#[test]
fn t055_an_image_that_the_service_refuses_is_denied_whatever_the_fail_policy() {
    let refused =
        Known::Unknown(Cause::Refused("`containers[0].image`: `A` is no image".to_owned()));
    let response = answer(&review_of(&["A"]), vec![refused]);
    assert!(!response.allowed);
    assert!(response.message.ends_with("`containers[0].image`: `A` is no image"));
}

#[test]
fn a_pod_with_a_place_without_an_image_is_denied() {
    let review = created("", "Pod", &pod(&json!({"containers": [{"name": "b"}]})));
    let response = answer(&read_value(&review).unwrap(), Vec::new());
    assert_eq!((response.allowed, &*response.message), (false, "container b: there is no image"));
    assert!(mutated(&read_value(&review).unwrap(), &outcome(Vec::new())).allowed);
}

#[test]
fn t065_a_review_that_cannot_be_read_is_denied_or_told() {
    let text = serde_json::to_vec(&created("", "Pod", &pod_of(&["a"]))).unwrap();
    let error = ReviewError::too_large(&text);
    let response = unreadable(&error, &Settings::default()).unwrap();
    assert!(!response.allowed);
    assert!(response.message.starts_with("too_large: the review is longer than"), "{response:?}");
    assert_eq!(response.uid, "705ab4f5-6393-11e8-b7cc-42010a800002");
    let mild = Settings { unreadable: FailPolicy::Allow, ..Settings::default() };
    let response = unreadable(&error, &mild).unwrap();
    assert_eq!((response.allowed, response.warnings.len()), (true, 1));
    assert_eq!(response.annotations[&Annotation::Cause], "too_large");
    let response = skipped_unread(&error, "exempt_namespace").unwrap();
    assert!(response.allowed && response.uid == "705ab4f5-6393-11e8-b7cc-42010a800002");
    let error = read(b"{}", &Settings::default()).unwrap_err();
    assert_eq!(skipped_unread(&error, "exempt_namespace"), None);
    assert_eq!(unreadable(&error, &Settings::default()), None);
}

#[test]
fn t068_a_dry_run_has_the_same_answer_and_says_so() {
    let mut review = created("", "Pod", &pod_of(&["a"]));
    let known = || vec![decided(Action::Deny, "a: bad")];
    let real = answer(&read_value(&review).unwrap(), known());
    review["request"]["dryRun"] = json!(true);
    let mut dry = answer(&read_value(&review).unwrap(), known());
    assert_eq!(dry.annotations.remove(&Annotation::DryRun).as_deref(), Some("true"));
    assert_eq!(dry, real);
}

#[test]
fn what_nobody_asks_about_is_taken_and_the_audit_log_says_why() {
    let mut review = created("", "Pod", &pod_of(&["a"]));
    review["request"]["operation"] = json!("DELETE");
    let response = answer(&read_value(&review).unwrap(), Vec::new());
    assert!(response.allowed && response.warnings.is_empty());
    assert_eq!(response.annotations[&Annotation::Decision], "skipped");
    assert_eq!(response.annotations[&Annotation::Cause], "deleted");
}

#[test]
fn warnings_are_short_few_and_without_what_a_terminal_obeys() {
    let names: Vec<_> = (0..100).map(|at| format!("image-{at}")).collect();
    let review = review_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let told = format!("\x1b[31mred\u{202e}{}", "é".repeat(100));
    let response = answer(&review, vec![decided(Action::Audit, &told); 100]);
    assert_eq!(response.warnings.len(), MAX_WARNINGS);
    assert!(response.warnings.iter().all(|text| text.len() <= MAX_WARNING));
    assert!(response.warnings.iter().map(String::len).sum::<usize>() <= 4096);
    assert!(response.warnings[0].starts_with("container c0: \\u{1b}[31mred\\u{202e}é"));
    assert_eq!(response.warnings[MAX_WARNINGS - 1], "and 69 more warnings");
    assert!(response.annotations.values().all(|value| value.len() <= MAX_ANNOTATION));
}

#[test]
fn an_old_answer_and_a_field_that_was_taken_for_an_image_are_told() {
    let spec = json!({"sidecars": [{"name": "s", "image": "a"}]});
    let review = read_value(&created("", "Pod", &pod(&spec))).unwrap();
    let Known::Decided(decision) = decided(Action::Allow, "") else { panic!() };
    let known = Known::Decided(Decision {
        source: Source::LastKnown,
        notices: vec!["no report".to_owned()].into(),
        ..decision
    });
    let response = answer(&review, vec![known]);
    let expected = [
        "`/spec/sidecars/0/image` is not known and was taken for an image",
        "field s: no answer: what was known before decides",
        "field s: no report",
    ];
    assert_eq!(response.warnings, expected);
    assert_eq!(response.annotations[&Annotation::Source], "last_known");
}
