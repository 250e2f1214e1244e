//! `docs/operations.md` and the metrics say the same.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use super::world::World;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

/// The rows of the document's table: name, type, labels.
pub(crate) fn rows() -> Vec<[String; 3]> {
    let text = read("docs/operations.md");
    let is_metric = |line: &&str| {
        ["| `portcullis_", "| `process_"].iter().any(|prefix| line.starts_with(prefix))
    };
    let rows = text.lines().filter(is_metric);
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(|cell| cell.trim().replace('`', ""));
        [(); 3].map(|()| cells.next().unwrap())
    })
    .collect()
}

/// The names in the source, because a family of which nothing was counted is not in the text.
fn registered() -> BTreeSet<String> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (folder, shim) = (project.join("server/src"), project.join("shim/src"));
    let topics = |folder: &Path| fs::read_dir(folder.join("metrics")).unwrap();
    let topics = topics(&folder).chain(topics(&shim)).map(|entry| entry.unwrap().path());
    // What is not ours alone is named as every program names it.
    let topics = topics.filter(|path| !path.ends_with("process.rs") && !path.ends_with("tests.rs"));
    let files = topics.chain([folder, shim].map(|folder| folder.join("metrics.rs")));
    let source: String = files.map(|file| fs::read_to_string(file).unwrap() + ";\n").collect();
    let calls = source.split("r.register").skip(1);
    let sampled = source.split(".encode_descriptor(").skip(1);
    let names = calls.chain(sampled).map(|call| {
        let name = call.split('"').nth(1).unwrap();
        let call = call.split(';').next().unwrap();
        let unit =
            call.split_once("Unit::").map(|(_, unit)| unit.split([',', ')']).next().unwrap());
        let unit = unit.map(|unit| format!("_{}", unit.to_lowercase()));
        format!("portcullis_{name}{}", unit.unwrap_or_default())
    });
    names.collect()
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let documented: BTreeSet<_> =
        rows().iter().map(family).filter(|name| name.starts_with("portcullis_")).collect();
    let registered = registered();
    assert!(registered.len() > 10, "{registered:?}");
    assert_eq!(registered, documented);
}

/// The name without what its type adds to it in `/metrics`.
fn family([name, kind, _]: &[String; 3]) -> String {
    let added = match kind.as_str() {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    name.strip_suffix(added).unwrap_or_else(|| panic!("`{name}` is a {kind}")).to_owned()
}

#[test]
fn types_and_labels_are_those_of_a_running_service() {
    let world = World::new();
    let service = world.serve();
    service.check(world.image("clean"), &[]).ends_with(0);
    let metrics = get(service.admin(), "/metrics");
    let rows = rows();
    for (name, kind) in metrics.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' ')) {
        assert!(rows.iter().any(|row| family(row) == name && row[1] == kind), "{name} is a {kind}");
    }
    let samples: Vec<_> = metrics.lines().filter(|l| !l.starts_with('#')).collect();
    for (sample, rest) in samples.iter().filter_map(|line| line.split_once('{')) {
        let labels = rest.split_once('}').unwrap().0.split(',').filter_map(|l| l.split('=').next());
        let labels: Vec<_> = labels.filter(|label| *label != "le").collect();
        let parts = ["_bucket", "_sum", "_count"];
        let name = parts.iter().find_map(|part| sample.strip_suffix(part)).unwrap_or(sample);
        let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{sample}"));
        assert_eq!(row[2], labels.join(", "), "{name}");
    }
    assert!(metrics.contains("\nportcullis_registry_requests_total{"), "{metrics}");
}

/// As Prometheus asks.
const ACCEPT: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{ACCEPT}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}
