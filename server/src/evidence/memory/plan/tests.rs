//! How long what was found counts, when it is asked about again, and what failures do to that.

use std::collections::BTreeMap;

use portcullis_core::evidence::{Cause, CauseKind, Reports};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

fn known(evidence: Evidence, fetched_at: OffsetDateTime) -> Known {
    let evidence = Arc::new(evidence);
    Known { evidence, fetched_at, fresh_until: fetched_at, source: Source::Registry }
}

fn verified() -> Evidence {
    Evidence::Verified(Reports::default())
}

fn down() -> Evidence {
    Evidence::Unavailable(Cause { kind: CauseKind::Unreachable, detail: "down".to_owned() })
}

fn seconds(from: OffsetDateTime, to: OffsetDateTime) -> i64 {
    (to - from).whole_seconds()
}

/// A sequence of rolls as wide as real ones.
fn rolls(count: u64) -> impl Iterator<Item = Roll> {
    (0..count).map(|number| Roll(number).next())
}

#[test]
fn t119_what_came_together_does_not_go_together() {
    let config = MemoryConfig::default();
    let mut due = BTreeMap::<_, u32>::new();
    let mut ends = BTreeMap::<_, u32>::new();
    for roll in rolls(10_000) {
        let plan = plan(&config, None, known(verified(), NOW), NOW, roll);
        assert!(plan.due < plan.known.fresh_until);
        *due.entry(seconds(NOW, plan.due)).or_default() += 1;
        *ends.entry(seconds(NOW, plan.known.fresh_until)).or_default() += 1;
    }
    for (seconds, first, last) in [(&due, 144, 240), (&ends, 270, 300)] {
        assert!(*seconds.keys().next().unwrap() >= first, "{seconds:?}");
        assert!(*seconds.keys().last().unwrap() <= last, "{seconds:?}");
        let mean = 10_000 / u32::try_from(last - first).unwrap();
        assert!(seconds.values().all(|count| *count <= 3 * mean), "{seconds:?}");
        // And it is spread over all of the time that it may take.
        assert!(seconds.len() >= usize::try_from(last - first).unwrap() * 9 / 10, "{seconds:?}");
    }
}

#[test]
fn each_failure_doubles_the_pause_up_to_its_limit() {
    let config = MemoryConfig { spread: 0, ..MemoryConfig::default() };
    let mut before = None;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let found = known(down(), NOW);
        let next = plan(&config, before.as_ref().map(|(k, f)| (k, *f)), found, NOW, Roll(0));
        pauses.push(seconds(NOW, next.due));
        assert_eq!(next.known.fresh_until, next.due);
        before = Some((next.known, next.failures));
    }
    assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30]);
    // The first success begins anew.
    let (last, failures) = before.unwrap();
    let good = plan(&config, Some((&last, failures)), known(verified(), NOW), NOW, Roll(0));
    assert_eq!(good.failures, 0);
    // However often it failed.
    let far = plan(&config, Some((&last, u32::MAX)), known(down(), NOW), NOW, Roll(0));
    assert_eq!((far.failures, seconds(NOW, far.due)), (u32::MAX, 30));
    // And no two replicas come back at once.
    let config = MemoryConfig::default();
    let pause = |roll| plan(&config, Some((&last, 7)), known(down(), NOW), NOW, roll).due;
    let pauses: Vec<_> = rolls(1_000).map(|roll| seconds(NOW, pause(roll))).collect();
    assert!(pauses.iter().all(|pause| (22..=30).contains(pause)), "{pauses:?}");
    assert!((22..30).all(|second| pauses.contains(&second)));
}

#[test]
fn t121_failures_change_nothing_before_the_hard_limit_and_mark_what_is_used_after_it() {
    let config = MemoryConfig { spread: 0, ..MemoryConfig::default() };
    let first = plan(&config, None, known(verified(), NOW), NOW, Roll(0));
    let mut before = (first.known.clone(), 0);
    for minutes in 4..=61_i64 {
        let now = NOW + time::Duration::minutes(minutes);
        let next = plan(&config, Some((&before.0, before.1)), known(down(), now), now, Roll(0));
        let (source, status) = (next.known.source, next.known.evidence.status());
        match minutes {
            // It is as fresh as it was, and only asked about a little later.
            ..5 => assert_eq!(
                (source, next.known.fresh_until),
                (Source::Registry, first.known.fresh_until)
            ),
            5..60 => assert_eq!((source, status), (Source::Stale, "verified")),
            _ => assert_eq!(status, "unavailable"),
        }
        if minutes < 60 {
            // Its age grows.
            assert_eq!(next.known.fetched_at, NOW);
            assert!(next.known.fresh_until <= NOW + config.stale_ttl);
        }
        before = (next.known, next.failures);
    }
}

#[test]
fn only_what_was_verified_or_withheld_outlives_a_failure() {
    let config = MemoryConfig::default();
    for (evidence, expected) in [
        (verified(), "verified"),
        (Evidence::Withheld, "withheld"),
        (Evidence::Missing, "unavailable"),
        (Evidence::Unsupported, "unavailable"),
    ] {
        let before = known(evidence, NOW);
        let after = plan(&config, Some((&before, 0)), known(down(), NOW), NOW, Roll(0));
        assert_eq!(after.known.evidence.status(), expected);
    }
    // A registry that may no longer be asked ends it.
    let before = known(verified(), NOW);
    let ended = known(Evidence::Unsupported, NOW);
    let ended = plan(&config, Some((&before, 0)), ended, NOW, Roll(0));
    assert_eq!(ended.known.evidence.status(), "unsupported");
    // And so does the end of a signature.
    let end = NOW + Duration::from_secs(10);
    let before = known(Evidence::Verified(Reports::default().until(Some(end))), NOW);
    let at = |seconds| {
        let now = NOW + Duration::from_secs(seconds);
        plan(&config, Some((&before, 0)), known(down(), now), now, Roll(0)).known
    };
    assert_eq!(at(9).evidence.status(), "verified");
    assert!(at(9).fresh_until <= end);
    assert_eq!(at(10).evidence.status(), "unavailable");
}

#[test]
fn what_was_there_and_is_gone_is_withheld() {
    let config = MemoryConfig::default();
    for (evidence, expected) in [
        (verified(), "withheld"),
        (Evidence::Withheld, "withheld"),
        (Evidence::Missing, "missing"),
        (down(), "missing"),
    ] {
        let before = known(evidence, NOW);
        let gone = plan(&config, Some((&before, 0)), known(Evidence::Missing, NOW), NOW, Roll(0));
        assert_eq!(gone.known.evidence.status(), expected);
        assert!(gone.known.fresh_until <= NOW + config.negative_ttl);
    }
}

#[test]
fn what_comes_from_before_a_restart_is_as_old_as_it_is() {
    let config = MemoryConfig::default();
    let mut due = BTreeMap::<_, u32>::new();
    for roll in rolls(10_000) {
        let found = Known { source: Source::Store, ..known(verified(), NOW) };
        let now = NOW + Duration::from_secs(260);
        let loaded = plan(&config, None, found, now, roll);
        assert!(loaded.known.fresh_until <= NOW + config.ttl);
        assert!(loaded.known.fresh_until >= NOW + config.ttl * 9 / 10);
        assert!(loaded.due >= now && loaded.due <= loaded.known.fresh_until);
        *due.entry(seconds(now, loaded.due)).or_default() += 1;
    }
    // All are overdue, and the registry is not asked about all of them at once.
    assert!(due.len() >= 25 && due.values().all(|count| *count <= 1_000), "{due:?}");
}
