//! `portcullis events`: what a service recorded is shown, whatever became of the service.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use portcullis_client::Client;
use portcullis_proto::v1;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::command::{Ran, portcullis, run};
use super::operations::get;
use super::world::{Service, World};

/// A world whose services record.
fn recording() -> World {
    let world = World::new();
    world.configure("dataDir: data\n");
    fs::create_dir(world.path("data")).unwrap();
    world
}

fn events(world: &World, more: &[&str]) -> Ran {
    let folder = world.path("data");
    let (first, rest) =
        more.split_first().map_or((None, more), |(first, rest)| (Some(first), rest));
    // A subcommand stands before its options.
    let (before, after) = match first {
        Some(word) if *word == "verify" => (vec!["events", "verify"], rest),
        _ => (vec!["events"], more),
    };
    run(&[&before, ["--data-dir", folder.to_str().unwrap()].as_slice(), after].concat())
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decisions(ran: &Ran) -> Vec<Value> {
    let lines = lines(ran).into_iter();
    lines.filter(|line| line["kind"] == "decision").collect()
}

#[test]
fn what_was_decided_just_before_is_shown_and_nothing_at_all_is_told() {
    let world = recording();
    let service = world.serve();
    let none = events(&world, &[]).ends_with(0);
    assert_eq!(none.stdout, "");
    assert!(none.stderr.starts_with("note: there is no decision in the record"), "{none:#?}");
    for count in 1..4 {
        service.check(world.image("clean"), &[]).ends_with(0);
        let shown = events(&world, &[]).ends_with(0);
        assert_eq!(decisions(&shown).len(), count, "{shown:#?}");
    }
}

#[test]
fn a_data_directory_that_is_not_there_is_told_with_what_helps() {
    let world = World::new();
    world.configure("dataDir: data\n");
    let service = world.serve();
    service.check(world.image("clean"), &[]).ends_with(0);
    let told = service.before();
    for words in ["marks cannot be kept on disk", "events cannot be recorded now"] {
        let line = told.lines().find(|line| line.contains(words)).unwrap_or_default();
        assert!(
            line.contains("make the folder of `dataDir`, writable for who runs this"),
            "{told}"
        );
    }
}

#[test]
fn what_was_decided_is_shown_and_narrowed_down() {
    let world = recording();
    let service = world.serve();
    let place = ["--namespace", "shop", "--workload", "Deployment/web", "--cluster", "prod-1"];
    service.check(world.image("clean"), &place).ends_with(0);
    service.check(world.image("critical"), &["--namespace", "other"]).ends_with(2);
    service.check(world.image("clean"), &[]).ends_with(0);
    service.end("TERM").ends_with(0);

    let all = events(&world, &[]).ends_with(0);
    assert_eq!(decisions(&all).len(), 3);
    let first = &decisions(&all)[0];
    assert_eq!((&first["seq"], &first["action"]), (&1.into(), &"allow".into()));
    assert_eq!((&first["cluster"], &first["workload"]), (&"prod-1".into(), &"web".into()));
    // Each report stands before what names it, once.
    let kinds: Vec<_> = lines(&all).iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(kinds, ["report", "decision", "report", "decision", "decision"]);

    let count = |more: &[&str]| decisions(&events(&world, more).ends_with(0)).len();
    assert_eq!(count(&["--action", "deny"]), 1);
    assert_eq!(count(&["--action", "audit"]), 0);
    assert_eq!(count(&["--namespace", "shop"]), 1);
    assert_eq!(count(&["--from", "2"]), 2);
    assert_eq!(count(&["--since", "1h"]), 3);
    assert_eq!(count(&["--since", "2999-01-01T00:00:00Z"]), 0);

    let table = events(&world, &["--output", "table"]).ends_with(0);
    let words = ["NUMBER", "prod-1 shop Deployment/web", "deny", world.image("critical")];
    assert!(words.iter().all(|word| table.stdout.contains(word)), "{table:#?}");
    assert_eq!(table.stdout.lines().count(), 4);
    let verdict = events(&world, &["verify"]).ends_with(0);
    assert_eq!(verdict.stdout, "3 decisions, 1 to 3, of 1 run of the service\n");

    events(&world, &["--action", "maybe"]).ends_with(1);
    events(&world, &["--since", "yesterday"]).ends_with(1);
    run(&["events"]).complains_of(&["where the record is", "--data-dir"]);
    let none = world.path("none");
    run(&["events", "--data-dir", none.to_str().unwrap()])
        .complains_of(&["no folder with a record"]);
    let config = world.path("portcullis.yaml");
    let named = run(&["events", "--config", config.to_str().unwrap()]).ends_with(0);
    assert_eq!(named.stdout, all.stdout);
    world.configure("");
    run(&["events", "--config", config.to_str().unwrap()]).complains_of(&["has no `dataDir`"]);
}

#[test]
fn what_is_shown_as_json_can_be_decided_again() {
    let world = recording();
    let service = world.serve();
    for sample in &world.samples {
        service.check(&sample.reference, &["--namespace", "shop"]);
    }
    service.end("TERM").ends_with(0);
    let file = world.write("events.jsonl", events(&world, &[]).ends_with(0).stdout);
    let rules = world.write("rules.yaml", portcullis_testkit::samples::rules());
    let rules = rules.to_str().unwrap();
    let events = ["--events", file.to_str().unwrap(), "--output", "json"];
    let diff =
        run(&[&["rules", "diff", rules, rules], events.as_slice()].concat()).ends_with(0).json();
    assert_eq!(diff["decisions"], world.samples.len());
    assert_eq!(diff["same"], world.samples.len(), "{diff:#}");
    for none in ["changed", "cannot_tell", "malformed", "unlike_record"] {
        assert_eq!(diff[none], 0, "{diff:#}");
    }
}

#[test]
fn t168_what_was_taken_out_is_told() {
    let world = recording();
    let service = world.serve();
    for _ in 0..3 {
        service.check(world.image("clean"), &[]).ends_with(0);
    }
    service.end("TERM").ends_with(0);
    let folder = world.path("data").join("events");
    let segment = folder.join("000000000001.events");
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.len() - 30;
    bytes[last] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let verdict = events(&world, &["verify"]).ends_with(2);
    let words = ["1 decisions are missing, and nothing says why", "3 to 3", "1 places are damaged"];
    assert!(words.iter().all(|word| verdict.stdout.contains(word)), "{verdict:#?}");
    let json = events(&world, &["verify", "--output", "json"]).ends_with(2).json();
    assert_eq!((&json["whole"], &json["record"]["missing"]), (&false.into(), &1.into()));
    let shown = events(&world, &[]).ends_with(0);
    assert!(shown.stderr.contains("is damaged in one place"), "{shown:#?}");
    assert_eq!(decisions(&shown).len(), 2);
}

/// It is killed when it is dropped.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_decided_is_followed() {
    let world = recording();
    let service = world.serve();
    service.check(world.image("clean"), &["--namespace", "before"]).ends_with(0);
    let folder = world.path("data");
    let mut command = portcullis(&["events", "--follow", "--data-dir", folder.to_str().unwrap()]);
    let mut child = Following(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut next = || -> Value {
        loop {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if line["kind"] == "decision" {
                return line;
            }
        }
    };
    assert_eq!(next()["namespace"], "before");
    for n in 0..3 {
        service.check(world.image("clean"), &["--namespace", &n.to_string()]).ends_with(0);
        assert_eq!(next()["namespace"], n.to_string());
    }
}

/// The service writes reports after the decisions that name them.
#[test]
fn a_decision_is_shown_when_the_report_that_it_names_is_there() {
    let world = recording();
    let service = world.serve();
    service.check(world.image("clean"), &[]).ends_with(0);
    let decided = Instant::now();
    service.end("TERM").ends_with(0);
    let folder = world.path("data");
    let mut files = fs::read_dir(folder.join("events")).unwrap().map(|entry| entry.unwrap().path());
    let reports = files.find(|path| path.extension().is_some_and(|e| e == "attached"));
    let (reports, aside) = (reports.unwrap(), world.path("aside"));
    fs::rename(&reports, &aside).unwrap();
    let mut command = portcullis(&["events", "--follow", "--data-dir", folder.to_str().unwrap()]);
    let mut child = Following(command.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let (sender, shown) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).unwrap();
            if sender.send(line["kind"].clone()).is_err() {
                break;
            }
        }
    });
    let early = shown.recv_timeout(Duration::from_millis(700));
    // On a machine that is so slow it has waited for long enough.
    if decided.elapsed() < Duration::from_secs(5) {
        assert!(early.is_err(), "{early:?}");
        fs::rename(&aside, &reports).unwrap();
        assert_eq!(shown.recv().unwrap(), "report");
        assert_eq!(shown.recv().unwrap(), "decision");
    }
    drop(child);
    // What was decided long ago is not waited for, and what comes never is not for ever.
    if reports.exists() {
        fs::remove_file(&reports).unwrap();
    }
    assert_eq!(decisions(&events(&world, &[]).ends_with(0)).len(), 1);
}

const BREAK_GLASS: &str = "apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - {name: none, action: deny, maxAllowed: {critical: 0}, onUnavailable: allow}
  breakGlass:
    - name: on-call
      scope: {match: [{field: namespace, operator: equals, values: [shop]}]}
";

fn asked(image: &str, pod: &str, why: &str) -> v1::CheckRequest {
    let context = v1::Context {
        namespace: "shop".to_owned(),
        pod: pod.to_owned(),
        break_glass: why.to_owned(),
        ..v1::Context::default()
    };
    let container = v1::Container { name: "main".to_owned(), image: image.to_owned() };
    v1::CheckRequest {
        context: Some(context),
        containers: vec![container],
        explain: false,
        purpose: 0,
    }
}

/// Asks until the service is gone; gives the pods that were answered, and those of which the denial was
/// lifted.
async fn ask(url: String, image: String, name: String, why: &str) -> Vec<String> {
    let client = Client::connect(&url, Duration::from_secs(20)).await.unwrap();
    let mut answered = Vec::new();
    for n in 0.. {
        let pod = format!("{name}-{n}");
        match client.check(asked(&image, &pod, why)).await {
            Ok(answer) => {
                let lifted = answer.decisions[0].break_glass.is_some();
                assert_eq!(lifted, !why.is_empty(), "{answer:?}");
                answered.push(pod);
            }
            Err(_) => break,
        }
    }
    answered
}

/// How many decisions the service says are on disk.
fn written(service: &Service) -> u64 {
    let metrics = get(service.admin(), "/metrics");
    let line = metrics.lines().find(|line| line.starts_with("portcullis_events_written_total"));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn t158_what_was_said_to_be_on_disk_is_there_after_a_kill_and_nothing_before_it_is_missing() {
    let world = recording();
    world.write("rules.yaml", BREAK_GLASS);
    let runtime = Runtime::new().unwrap();
    let (mut plain, mut lifted, mut on_disk) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut before = 0;
    for round in 0..8 {
        let service = world.serve();
        let asking = |task: usize, image: &str, why: &'static str| {
            runtime.spawn(ask(service.url(), image.to_owned(), format!("{round}-{task}"), why))
        };
        let image = world.image("clean");
        let plainly: Vec<_> = (0..4).map(|task| asking(task, image, "")).collect();
        let gladly: Vec<_> =
            (4..6).map(|task| asking(task, world.image("critical"), "outage")).collect();
        // Killed at some other point of its work each time.
        let enough = |said: &u64| *said > 100 + round * 37;
        let said = (0..100_000).map(|_| written(&service)).find(enough).unwrap();
        service.end("KILL");
        runtime.block_on(async {
            for task in plainly {
                plain.extend(task.await.unwrap());
            }
            for task in gladly {
                lifted.extend(task.await.unwrap());
            }
        });
        on_disk += said;
        let shown = decisions(&events(&world, &[]).ends_with(0));
        assert!(shown.len() as u64 >= before + said, "{} of {said} after {before}", shown.len());
        before = shown.len() as u64;
    }
    let shown = decisions(&events(&world, &[]).ends_with(0));
    let pods: BTreeSet<_> =
        shown.iter().map(|event| event["pod"].as_str().unwrap().to_owned()).collect();
    // Each has one event, and one number.
    assert_eq!(pods.len(), shown.len());
    // A lifted denial was on disk before its answer.
    let missing: Vec<_> = lifted.difference(&pods).collect();
    assert!(!lifted.is_empty() && missing.is_empty(), "{missing:?}");
    // Of the others only what was answered last before a kill may be missing.
    let missing = plain.difference(&pods).count();
    println!(
        "{} answered, {on_disk} said to be on disk, {missing} missing",
        plain.len() + lifted.len()
    );
    let verdict = events(&world, &["verify", "--output", "json"]).ends_with(0).json();
    let record = &verdict["record"];
    let numbers = ["missing", "told", "damaged", "open_ended"].map(|name| record[name].as_u64());
    assert_eq!(numbers, [Some(0), Some(0), Some(0), Some(8)], "{verdict:#}");
}
