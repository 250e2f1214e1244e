//! The decision cases in `cases/*.yaml`, decided by the pure engine.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests of core read files, core does not")]

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_core::policy::{self, Source};
use portcullis_core::simulate::cases::{self, Case};
use time::OffsetDateTime;

/// The fewest cases that there must be, so that a folder that is not found does not pass.
const FEWEST: usize = 60;

/// The files, each a list of documents: rules, the cases about them, other rules, and so on.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|f| f.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    files
}

fn read(text: &str) -> Vec<Case> {
    let source = Source { file: "cases".to_owned(), text: text.to_owned() };
    let mut open = |path: &str| Err(format!("{path} is not beside these cases").into());
    cases::parse(&source, OffsetDateTime::UNIX_EPOCH, &mut open)
        .unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

#[test]
fn every_case_is_decided_as_it_says() {
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let documents: Vec<_> = text.split("\n---\n").collect();
        for pair in documents.chunks(2) {
            let [rules, cases] = pair else { panic!("{}: rules without cases", file.display()) };
            let source = Source { file: file.display().to_string(), text: (*rules).to_owned() };
            let policy = policy::parse(&[source]).unwrap_or_else(|e| panic!("{e}\n{rules}"));
            for case in read(cases) {
                count += 1;
                let found = case.decide(&policy);
                let differences = case.expected.differences(&found);
                if !differences.is_empty() {
                    wrong.push((file.clone(), case.name, differences, found));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count >= FEWEST, "{count}");
}
