//! What is stored of a decision says what its event says (CASES T165).

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::Value;
use time::macros::datetime;

use super::*;
use crate::decide::{Applied, Lifted, Notice, NoticeKind, decide};
use crate::event::{Call, Event, Line};
use crate::evidence::{Cause, CauseKind, Report, Source};
use crate::findings::{Findings, Scanner};
use crate::image::Platform;
use crate::policy::{self, Policy};
use crate::signature::Signer;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00:00.000_000_007 UTC);
const TOOK: Duration = Duration::from_micros(300);

fn report() -> Evidence {
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    let report = Report {
        digest: Digest::of(b"report"),
        signer: Arc::new(Signer {
            subject: "CN=scanner".to_owned(),
            fingerprint: "ab".to_owned(),
            policy: "all".to_owned(),
            signed_at: Some(NOW),
        }),
        findings: Findings::new(scanner, NOW, Vec::new()),
        notices: Vec::new(),
    };
    Evidence::verified(vec![Arc::new(report)])
}

fn subject(evidence: Evidence, platform: Option<&str>) -> Subject {
    Subject {
        digest: Some(Digest::of(platform.unwrap_or("image").as_bytes())),
        platform: platform.map(|text| text.parse().unwrap()),
        evidence: Arc::new(evidence),
        fetched_at: NOW - Duration::from_secs(60),
        source: Source::Memory,
    }
}

fn policy(rules: &str) -> Policy {
    let text = format!("apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {{rules: [{rules}]}}");
    policy::parse(&[policy::Source { file: "r".to_owned(), text }]).unwrap()
}

/// What is stored of `made`, and what names in it stand for.
fn stored(made: &Made<'_>) -> (Vec<u8>, HashMap<u32, KnownRecord>) {
    let (mut bytes, mut names) = (Vec::new(), HashMap::new());
    let grounds = grounds(made.decision, made.image);
    write(&mut bytes, made, &grounds, |evidence| {
        let name = u32::try_from(names.len()).unwrap() + 7;
        names.insert(name, KnownRecord::read(&known(evidence)).unwrap());
        name
    });
    (bytes, names)
}

/// Asserts that the line of what is stored is that of the event, and gives it.
#[track_caller]
fn check(image: &str, subjects: &[Subject], ctx: &Context, decision: &Decision) -> Value {
    let image = &image.parse().unwrap();
    let made =
        Made { time: NOW, took: TOOK, image, subjects, ctx, container: &ctx.container, decision };
    let (bytes, names) = stored(&made);
    assert!(bytes.len() <= MAX_STORED, "{}", bytes.len());
    let read = Stored::read(&bytes).unwrap();
    let line = serde_json::to_value(read.line("e-1", 1, |name| names.get(&name))).unwrap();
    let call = Call { id: "e-1", time: NOW, took: TOOK, container: &ctx.container };
    let event = Event::new(call, image, subjects, ctx, decision);
    let mut expected = serde_json::to_value(Line::Decision(&event)).unwrap();
    expected["seq"] = 1.into();
    assert_eq!(line, expected);
    line
}

#[test]
fn what_is_stored_says_what_the_event_says() {
    let rules = policy("{name: r, action: deny, blockUnscannedImages: true}");
    let cause = Cause { kind: CauseKind::Throttled, detail: "429".to_owned() };
    let evidence = [
        report(),
        Evidence::Missing,
        Evidence::Withheld,
        Evidence::Unsupported,
        Evidence::Stale { age: Duration::from_millis(1_234) },
        Evidence::Unavailable(cause),
    ];
    let labels = |n: u32| (0..n).map(|n| (format!("key-{n}"), "value".to_owned())).collect();
    let ctx = Context {
        cluster: "prod".to_owned(),
        pod: "app-1".to_owned(),
        namespace_labels: labels(3),
        pod_labels: labels(1),
        break_glass: "outage".to_owned(),
        ..Context::default()
    };
    let pinned = format!("reg.io/app:v1@{}", Digest::of(b"index"));
    for image in ["reg.io/app:v1", &pinned] {
        for evidence in &evidence {
            let subjects =
                [subject(evidence.clone(), None), subject(report(), Some("linux/arm64/v8"))];
            let name = image.parse().unwrap();
            for policy in [&rules, &Policy::default_policy()] {
                let decision = decide(policy, &name, &subjects, &ctx, NOW);
                check(image, &subjects, &ctx, &decision);
            }
            check(image, &[], &ctx, &decide(&rules, &name, &[], &ctx, NOW));
        }
    }
}

#[test]
fn a_plain_allow_has_no_grounds_and_is_short() {
    let (image, ctx) = ("reg.io/app:v1".parse().unwrap(), Context::default());
    let subjects = [subject(report(), None)];
    let decision = decide(&Policy::default_policy(), &image, &subjects, &ctx, NOW);
    assert!(is_plain(&decision));
    let made = Made {
        time: NOW,
        took: TOOK,
        image: &image,
        subjects: &subjects,
        ctx: &ctx,
        container: "c",
        decision: &decision,
    };
    let (bytes, _) = stored(&made);
    assert!(bytes.len() < 200, "{}", bytes.len());
    let line = check("reg.io/app:v1", &subjects, &ctx, &decision);
    assert_eq!(line["evidence"][0]["reports"][0]["digest"], Digest::of(b"report").to_string());
}

#[test]
fn names_from_outside_are_cut_and_escaped_as_in_the_event() {
    let hostile = |n: usize| format!("\u{1b}\n\u{202e}{}", "é".repeat(n));
    for n in [0, 240, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255, 256, 600, 100_000] {
        let labels = |count: usize| -> BTreeMap<String, String> {
            (0..count).map(|key| (format!("{key}{}", "x".repeat(n)), hostile(n))).collect()
        };
        let ctx = Context {
            namespace: "x".repeat(n),
            pod: hostile(n),
            break_glass: hostile(n),
            namespace_labels: labels(2),
            pod_labels: labels(MAX_LABELS + usize::from(n == 600)),
            ..Context::default()
        };
        let platform = Platform { os: hostile(n), architecture: hostile(n), variant: None };
        let subjects = [Subject { platform: Some(platform), ..subject(Evidence::Missing, None) }];
        let image = "reg.io/app:v1".parse().unwrap();
        let decision = decide(&Policy::default_policy(), &image, &subjects, &ctx, NOW);
        check("reg.io/app:v1", &subjects, &ctx, &decision);
    }
}

/// A denial with so many violations and notices, each with something long in it.
fn large(count: usize) -> Decision {
    let image = "reg.io/app:v1".parse().unwrap();
    let policy = policy("{name: r, action: deny, blockUnscannedImages: true}");
    let subjects = [subject(Evidence::Missing, None)];
    let mut decision = decide(&policy, &image, &subjects, &Context::default(), NOW);
    let long = || "x".repeat(20_000);
    decision.violations[0].deciding = false;
    let one = decision.violations[0].clone();
    decision.violations.extend((1..count).map(|n| {
        let mut violation = one.clone();
        violation.rule = format!("{n}{}", long()).into();
        violation.deciding = n == count - 1;
        violation
    }));
    decision.exemptions.extend((0..count).map(|_| {
        // Each quote takes two bytes of JSON.
        let quotes = || "\"".repeat(20_000);
        let mut applied = Applied::new(quotes().into(), quotes().into());
        (applied.owner, applied.reason, applied.ticket) = (quotes(), quotes(), Some(quotes()));
        applied
    }));
    decision.notices.extend((0..count).map(|_| Notice {
        rule: Some(long().into()),
        subject: None,
        platform: None,
        kind: NoticeKind::Signature { report: Digest::of(b"report"), detail: long() },
    }));
    decision
}

#[test]
fn t165_a_large_event_is_cut_with_counts_and_a_digest_of_the_whole() {
    let (image, decision) = ("reg.io/app:v1".parse().unwrap(), large(2_000));
    let whole = Grounds::listing(&decision, &image, usize::MAX);
    assert!(serde_json::to_vec(&whole).unwrap().len() > 1024 * 1024);
    let labels = || (0..300).map(|n| (format!("{n}{}", "x".repeat(600)), "y".repeat(600)));
    let ctx = Context {
        namespace_labels: labels().collect(),
        pod_labels: labels().collect(),
        ..Context::default()
    };
    let subjects: Vec<_> = (0..300).map(|_| subject(Evidence::Missing, None)).collect();
    let made = Made {
        time: NOW,
        took: TOOK,
        image: &image,
        subjects: &subjects,
        ctx: &ctx,
        container: "c",
        decision: &decision,
    };
    let (bytes, names) = stored(&made);
    assert!(bytes.len() <= MAX_STORED, "{}", bytes.len());
    let read = Stored::read(&bytes).unwrap();
    let line = serde_json::to_value(read.line("e", 1, |name| names.get(&name))).unwrap();
    assert_eq!(line["violations_total"], 2_000);
    assert_eq!(line["notices_total"], decision.notices.len());
    assert_eq!((&line["evidence_total"], &line["cut"]), (&300.into(), &true.into()));
    assert_eq!(line["whole"], whole.digest().to_string());
    let listed = line["violations"].as_array().unwrap();
    assert!(listed.len() > 1 && listed.len() < MAX_LISTED, "{}", listed.len());
    // The deciding one is the last of all, and is kept.
    assert_eq!(listed[0]["deciding"], true);
}

#[test]
fn t165_the_grounds_of_a_decision_end_at_their_bound() {
    let image = "reg.io/app:v1".parse().unwrap();
    for count in [1, 2, 50, 100, 101, 1_000] {
        let grounds = grounds(&large(count), &image);
        assert!(grounds.len() <= MAX_GROUNDS, "{count}: {}", grounds.len());
    }
}

#[test]
fn a_lifted_denial_names_what_lifted_it() {
    let mut decision = large(2);
    let justification = "outage".to_owned();
    decision.break_glass = Some(Lifted { name: "on-call".into(), justification });
    let line = check("reg.io/app:v1", &[], &Context::default(), &decision);
    assert_eq!(line["break_glass"], "on-call");
}

#[test]
fn what_is_known_gets_its_new_name_and_what_is_lost_is_cut() {
    let (image, ctx) = ("reg.io/app:v1".parse().unwrap(), Context::default());
    let subjects = [subject(report(), None), subject(report(), Some("linux/amd64"))];
    let decision = decide(&Policy::default_policy(), &image, &subjects, &ctx, NOW);
    let made = Made {
        time: NOW,
        took: TOOK,
        image: &image,
        subjects: &subjects,
        ctx: &ctx,
        container: "c",
        decision: &decision,
    };
    let (mut bytes, _) = stored(&made);
    rename(&mut bytes, |name| name + 100);
    let read = Stored::read(&bytes).unwrap();
    assert_eq!(read.known, [107, 108]);
    let line = serde_json::to_value(read.line("e", 1, |_| None)).unwrap();
    assert_eq!((&line["cut"], &line["evidence"][1]["status"]), (&true.into(), &"lost".into()));
    rename(&mut [9, 1], |_| panic!("there is no name"));
}

proptest! {
    #[test]
    fn any_bytes_are_a_decision_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = Stored::read(&bytes);
    }

    #[test]
    fn a_decision_that_was_changed_is_another_or_an_error(at in 0..160_usize, to in any::<u8>()) {
        let (image, ctx) = ("reg.io/app:v1".parse().unwrap(), Context::default());
        let subjects = [subject(report(), Some("linux/amd64"))];
        let decision = decide(&Policy::default_policy(), &image, &subjects, &ctx, NOW);
        let (took, subjects, ctx) = (TOOK, &subjects, &ctx);
        let made = Made { time: NOW, took, image: &image, subjects, ctx, container: "c", decision: &decision };
        let (mut bytes, names) = stored(&made);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        if let Ok(read) = Stored::read(&bytes) {
            let line = read.line("e", 1, |name| names.get(&name));
            prop_assert!(serde_json::to_vec(&line).is_ok());
        }
    }
}
