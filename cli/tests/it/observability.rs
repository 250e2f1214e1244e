//! The dashboard and the alerts ask for what is there, and every alert says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::operations::rows;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("observability/alerts.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read("observability/dashboard.json")).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// What a part of PromQL is.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// PromQL in words, strings and signs; enough to find what an expression asks for.
fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(first) = rest.next() {
        let is_word = |c: &char| c.is_ascii_alphanumeric() || "_:$.".contains(*c);
        if first == '"' || first == '\'' {
            let text = rest.by_ref().take_while(|c| *c != first).collect();
            tokens.push(Token::Text(text));
        } else if is_word(&first) {
            let mut word = String::from(first);
            while let Some(next) = rest.next_if(is_word) {
                word.push(next);
            }
            tokens.push(Token::Word(word));
        } else if !first.is_whitespace() {
            tokens.push(Token::Sign(first));
        }
    }
    tokens
}

/// Labels that Prometheus adds.
const TARGET: [&str; 2] = ["instance", "job"];

/// The labels of each sample that can be asked for, by its name.
fn samples() -> BTreeMap<String, BTreeSet<String>> {
    let mut samples = BTreeMap::new();
    for [name, kind, labels] in rows() {
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels: BTreeSet<_> = labels.chain(TARGET).map(str::to_owned).collect();
        if kind == "histogram" {
            let with_bound = labels.iter().cloned().chain(["le".to_owned()]).collect();
            samples.insert(format!("{name}_bucket"), with_bound);
            samples.insert(format!("{name}_sum"), labels.clone());
            samples.insert(format!("{name}_count"), labels);
        } else {
            samples.insert(name, labels);
        }
    }
    samples
}

/// What is wrong with what an expression asks for.
fn faults(expression: &str) -> Vec<String> {
    let (samples, tokens) = (samples(), tokens(expression));
    let (mut faults, mut asked) = (Vec::new(), BTreeSet::new());
    for (place, token) in tokens.iter().enumerate() {
        let Token::Word(name) = token else { continue };
        if !name.starts_with("portcullis_") && !name.starts_with("process_") {
            continue;
        }
        let Some(labels) = samples.get(name) else {
            faults.push(format!("there is no `{name}`"));
            continue;
        };
        asked.extend(labels.clone());
        if tokens.get(place + 1) == Some(&Token::Sign('{')) {
            let matchers = tokens[place + 2..].iter().take_while(|t| **t != Token::Sign('}'));
            let words = matchers.filter_map(|token| match token {
                Token::Word(word) => Some(word),
                _ => None,
            });
            faults.extend(
                words.filter(|l| !labels.contains(*l)).map(|l| format!("`{name}` has no `{l}`")),
            );
        }
    }
    if asked.is_empty() {
        faults.push("it asks for nothing of ours".to_owned());
    }
    for (place, token) in tokens.iter().enumerate() {
        let groups = ["by", "on", "without"].map(|word| Token::Word(word.to_owned()));
        if groups.contains(token) {
            let labels = tokens[place + 1..].iter().take_while(|t| **t != Token::Sign(')'));
            let words = labels.filter_map(|token| match token {
                Token::Word(word) => Some(word),
                _ => None,
            });
            faults.extend(
                words.filter(|l| !asked.contains(*l)).map(|l| format!("nothing has a `{l}`")),
            );
        }
    }
    faults
}

#[track_caller]
fn check(expression: &str, expected: &[&str]) {
    assert_eq!(faults(expression), expected, "{expression}");
}

#[test]
fn what_is_not_there_is_found() {
    check("sum by (action) (rate(portcullis_decisions_total{action=\"deny\"}[5m]))", &[]);
    check(
        "portcullis_decisions",
        &["there is no `portcullis_decisions`", "it asks for nothing of ours"],
    );
    let faults = ["`portcullis_decisions_total` has no `outcome`"];
    check("portcullis_decisions_total{action='deny', outcome=~\"a|b\"}", &faults);
    check("sum by (host) (portcullis_flights)", &["nothing has a `host`"]);
    check("portcullis_check_duration_seconds_bucket{le=\"1.0\"}", &[]);
    check("portcullis_flights{le=\"1.0\"}", &["`portcullis_flights` has no `le`"]);
    check("up == 0", &["it asks for nothing of ours"]);
}

#[test]
fn alerts_ask_for_what_is_there() {
    for alert in alerts() {
        let expression = alert["expr"].as_str().unwrap();
        assert_eq!(faults(expression), Vec::<String>::new(), "{}", alert["alert"]);
    }
}

#[test]
fn every_alert_says_what_it_means_and_what_to_do() {
    let operations = read("docs/operations.md");
    let tests = read("observability/alerts.test.yaml");
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap().to_owned();
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for text in ["summary", "description"] {
            assert!(!alert["annotations"][text].as_str().unwrap().is_empty(), "{name}");
        }
        let runbook = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], runbook, "{name}");
        assert!(tests.contains(&name), "{name} is not in alerts.test.yaml");
        assert!(names.insert(name.clone()), "{name} is there twice");
        let section = operations.split(&format!("\n### {name}\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("{name} has no section"));
        let section = section.split("\n#").next().unwrap();
        assert!(section.trim().len() > 80, "{name}: {section}");
    }
    assert!(names.len() > 10, "{names:?}");
    let sections = operations.lines().filter_map(|line| line.strip_prefix("### Portcullis"));
    let sections: BTreeSet<_> = sections.map(|name| format!("Portcullis{name}")).collect();
    assert_eq!(sections, names);
}

#[test]
fn the_dashboard_asks_for_what_is_there() {
    let mut asked = 0;
    for panel in panels() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            // Which replica and over which time the viewer chooses.
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(
                faults(expression),
                Vec::<String>::new(),
                "{}: {expression}",
                panel["title"]
            );
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
}

/// Grafana is not at hand, so this holds to what it needs of a dashboard of its schema.
#[test]
fn the_dashboard_is_one() {
    let text = read("observability/dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dashboard["schemaVersion"], 39);
    for key in ["title", "uid", "description"] {
        assert!(!dashboard[key].as_str().unwrap().is_empty(), "{key}");
    }
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is there twice");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title} is beyond the edge");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} is over another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            ["stat", "timeseries", "heatmap", "table"].contains(&panel["type"].as_str().unwrap())
        );
        assert!(panel["description"].as_str().unwrap().ends_with('.'), "{title}");
        assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let mut references = BTreeSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert!(references.insert(target["refId"].as_str().unwrap()), "{title}");
        }
        assert!(!references.is_empty(), "{title}");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "instance"]);
    // Nobody's own data source is in it.
    assert!(!text.contains("__inputs") && !text.contains("localhost"));
}
