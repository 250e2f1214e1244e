//! `portcullis check`: three outcomes, never two.

use super::command::{Ran, run};
use super::world::World;

const AUDIT: &str = "apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - name: only-audit
      action: audit
      maxAllowed: {critical: 0}
";

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stdout.contains(word), "`{word}` is not in {ran:#?}");
    }
    assert_eq!(ran.stderr, "", "{ran:#?}");
}

#[test]
fn an_allowed_image_ends_with_0() {
    let world = World::new();
    let ran = world.serve().check(world.image("clean"), &[]).ends_with(0);
    says(&ran, &["allow", "no rule is violated", "demo scanner"]);
}

#[test]
fn a_denied_image_ends_with_2_and_says_why() {
    let world = World::new();
    let service = world.serve();
    let ran = service.check(world.image("critical"), &[]).ends_with(2);
    says(&ran, &["deny", "no-known-high-risk", "4 critical or", "CVE-2022-1292"]);
    let ran = service.check(world.image("unsigned"), &["--output", "json"]).ends_with(2);
    assert_eq!(ran.json()["checks"][0]["evidence"]["status"], "rejected");
}

#[test]
fn an_audited_image_ends_with_0_and_shows_its_warning() {
    let world = World::new();
    world.write("rules.yaml", AUDIT);
    let service = world.serve();
    let ran = service.check(world.image("critical"), &[]).ends_with(0);
    says(&ran, &["audit", "only-audit", "4 critical or", "CVE-2022-1292"]);
    let json = service.check(world.image("critical"), &["--output", "json"]).ends_with(0).json();
    assert_eq!(json["checks"][0]["action"], "audit");
    assert_eq!(json["checks"][0]["violations"][0]["deciding"], true);
}

#[test]
fn a_missing_service_is_no_answer() {
    run(&["check", "busybox", "--server", "http://127.0.0.1:1"])
        .complains_of(&["failed to reach the decision service at `http://127.0.0.1:1`"]);
}

#[test]
fn every_line_of_an_error_is_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  a: 1\n  b: 1\n";
    super::world::write(folder.path(), "rules.yaml", rules);
    let config = super::world::write(folder.path(), "portcullis.yaml", "rules: [rules.yaml]\n");
    let ran = run(&["serve", "--config", config.to_str().unwrap()]);
    ran.complains_of(&["rules.yaml:4:3", "rules.yaml:5:3"]);
    assert!(ran.stderr.lines().skip(1).all(|line| line.starts_with("  ")), "{ran:#?}");
}

#[test]
fn what_is_not_a_service_is_no_answer() {
    let world = World::new();
    let service = world.serve();
    let url = format!("http://{}", service.admin());
    let ran = run(&["check", "busybox", "--server", &url]).ends_with(1);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_malformed_image_is_named_without_a_service() {
    let check = |image: &str| run(&["check", image, "--server", "http://127.0.0.1:1"]);
    check("reg.example/Team/app:1").complains_of(&["`Team/app`"]);
    check("busybox@sha256:abc").complains_of(&["`sha256:abc` is not a digest"]);
    check("busybox:").complains_of(&["`busybox:` is not an image", "`` is not a tag"]);
    check("").complains_of(&["the image reference is empty"]);
}

#[test]
fn a_malformed_flag_is_named() {
    run(&["check", "busybox", "--workload", "app"]).complains_of(&["`app`", "`Kind/name`"]);
    // Never clap's own status, 2: that is a denial.
    run(&["check", "busybox", "--timeout", "0"]).complains_of(&["--timeout"]);
    run(&["check", "busybox", "--tiemout", "1"]).complains_of(&["--tiemout", "--timeout"]);
    run(&["check", "busybox", "--break-glass", " "]).complains_of(&["--break-glass", "a reason"]);
    run(&["check"]).complains_of(&["<IMAGE>"]);
    run(&["check", "--help"]).ends_with(0);
}

/// What it lifts is on disk before it says so, and outlives a crash right after (CASES T106).
#[test]
fn break_glass_lifts_a_denial_and_its_event_outlives_a_crash() {
    let world = World::new();
    let entry = "spec:\n  breakGlass: [{name: on-call}]\n";
    world.write("rules.yaml", AUDIT.replace("spec:\n", entry).replace("audit", "deny"));
    let events = world.write("events.jsonl", "");
    world.configure(&format!("events: {}\n", events.display()));
    let service = world.serve();
    service.check(world.image("critical"), &[]).ends_with(2);
    let why = ["--break-glass", "outage 4711"];
    let ran = service.check(world.image("critical"), &why).ends_with(0);
    service.end("KILL");
    says(&ran, &["audit", "only-deny", "4 critical or", "`on-call`: outage", "4711"]);
    let events = std::fs::read_to_string(events).unwrap();
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!((&last["break_glass"], &last["action"]), (&"on-call".into(), &"audit".into()));

    let service = world.serve();
    let more = [&why[..], &["--output", "json"]].concat();
    let json = service.check(world.image("critical"), &more).ends_with(0).json();
    assert_eq!(json["checks"][0]["break_glass"]["name"], "on-call");
    assert_eq!(json["checks"][0]["break_glass"]["justification"], "outage 4711");
}

#[test]
fn break_glass_that_is_not_permitted_says_so() {
    let world = World::new();
    let ran = world.serve().check(world.image("critical"), &["--break-glass", "outage"]);
    says(&ran.ends_with(2), &["deny", "nothing: the policy does not permit"]);
}

#[test]
fn what_the_service_refuses_is_told_by_its_message() {
    let world = World::new();
    let ran = world.serve().check(world.image("clean"), &["--break-glass", &"a".repeat(1025)]);
    ran.complains_of(&[
        "because: ",
        "`context.break_glass` is 1025 bytes long, more than the 1024",
    ]);
    assert!(!ran.stderr.contains("message:"), "{ran:#?}");
}

#[test]
fn exemptions_that_were_applied_are_shown() {
    let world = World::new();
    let image = "{field: registry, operator: contains, values: [\":\"]}";
    let exemption = format!(
        "spec:\n  exemptions:\n  - {{name: waiver, owner: me, reason: why, untilFixed: false, \
         until: 2999-12-30, match: [{image}]}}\n"
    );
    world.write("rules.yaml", AUDIT.replace("spec:\n", &exemption));
    let service = world.serve();
    let ran = service.check(world.image("critical"), &[]).ends_with(0);
    says(&ran, &["allow", "no rule is violated", "`waiver` of", "(CVE-2022-1292, "]);
    let ran = service.check(world.image("critical"), &["--output", "json"]).ends_with(0);
    let shown = &ran.json()["checks"][0]["exemptions"][0];
    assert_eq!((&shown["name"], &shown["owner"]), (&"waiver".into(), &"me".into()));
    assert_eq!(shown["until"], "2999-12-31T00:00:00Z");
    assert_eq!((&shown["rule"], &shown["findings_total"]), (&"only-audit".into(), &4.into()));
}
