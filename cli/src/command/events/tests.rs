//! Decisions that wait for the reports that they name.

use std::fs::{self, File};

use super::*;

#[test]
fn with_one_decision_past_those_that_are_held_back_all_are_shown() {
    // A record in which no report ever is.
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("shown");
    let mut show = Show {
        filter: Filter { from: 0, since: None, action: None, namespace: None },
        attachments: Some(Attachments::new(folder.path().to_owned())),
        told: HashSet::new(),
        held: VecDeque::new(),
        rows: Rows::onto(Box::new(File::create(&shown).unwrap()), Output::Json, false),
        read: 0,
    };
    let mut hold = |seq: u64| {
        let names = vec![Digest::of(b"a report")];
        let held = Held { seq, line: seq.to_string().into_bytes(), names, since: Instant::now() };
        show.hold(held).unwrap();
        show.rows.flush().unwrap();
        show.held.len()
    };
    let lines =
        || fs::read_to_string(&shown).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    for seq in 0..MAX_HELD {
        assert_eq!(hold(seq as u64), seq + 1);
    }
    assert!(lines().is_empty());
    assert_eq!(hold(MAX_HELD as u64), 0);
    // In their order.
    let all: Vec<_> = (0..=MAX_HELD).map(|seq| seq.to_string()).collect();
    assert_eq!(lines(), all);
}
