//! The catalogue of the threat model in, the cases that no test holds out.
//!
//! A case that is `held`, or `held in part` and says what is not, has a test with its number in its name; any other says why
//! not, and has none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The cases that evidence, registries, the service under load and the record of decisions must survive.
const RANGES: [(u32, u32); 7] =
    [(1, 79), (82, 82), (84, 84), (88, 92), (108, 165), (168, 168), (173, 177)];
/// Where tests are.
const FOLDERS: [&str; 8] = ["core", "tls", "server", "client", "shim", "cli", "testkit", "helm"];
/// How tests begin, by the ending of the file that they are in.
const BEGINNINGS: [(&str, &str); 2] = [("rs", "fn "), ("py", "def ")];
/// Cases that were put between others.
const BETWEEN: [&str; 4] = ["T020b", "T023b", "T045b", "T156b"];

#[test]
fn every_case_of_the_catalogue_is_held_by_a_test_of_its_number() {
    let held = numbers_in_tests();
    let (mut wrong, mut told) = (Vec::new(), BTreeSet::new());
    for (case, standing, what) in rows() {
        let has_test = held.contains(&case.to_lowercase());
        let is_held = standing == "held" || standing.starts_with("held in part: ");
        if is_held != has_test {
            wrong.push(format!("{case} is `{standing}`, and has a test: {has_test}"));
        }
        if what.is_empty() || standing.is_empty() || !told.insert(case.clone()) {
            wrong.push(format!("{case} has no text, or two rows"));
        }
    }
    let numbers = RANGES.iter().flat_map(|(first, last)| *first..=*last);
    let expected = numbers.map(|n| format!("T{n:03}")).chain(BETWEEN.map(str::to_owned));
    wrong
        .extend(expected.filter(|c| !told.contains(c)).map(|c| format!("{c} is not in the table")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The rows of the catalogue: case, standing, what.
#[cfg(test)]
fn rows() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| T0") || line.starts_with("| T1"));
    let rows: Vec<_> = rows
        .map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            let mut next = || cells.next().unwrap_or_default();
            (next(), next(), next())
        })
        .collect();
    assert!(rows.len() > 50, "{rows:?}");
    rows
}

/// The numbers in the names of tests, `t001` of `fn t001_what_it_says`; several in one name count all.
#[cfg(test)]
fn numbers_in_tests() -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    let mut open: Vec<_> = FOLDERS.iter().map(|name| root().join(name)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Some((_, beginning)) =
            BEGINNINGS.iter().find(|(ending, _)| path.extension().is_some_and(|e| e == *ending))
        {
            let text = fs::read_to_string(path).unwrap();
            let names = text.lines().filter_map(|line| line.split_once(beginning));
            for (_, name) in names {
                let parts = name.split('_').take_while(|part| is_number(part));
                numbers.extend(parts.map(str::to_owned));
            }
        }
    }
    assert!(numbers.len() > 20, "{numbers:?}");
    numbers
}

/// `t001`, or `t020b`.
#[cfg(test)]
fn is_number(part: &str) -> bool {
    let Some(digits) = part.strip_prefix('t') else { return false };
    let digits = digits.strip_suffix('b').unwrap_or(digits);
    digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
