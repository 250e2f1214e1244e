//! What is kept has a bound.

use super::*;
use crate::near::kept::MAX_MASKS;

pub(super) fn numbered(number: usize) -> v1::CheckRequest {
    let image = format!("app:v{number}");
    v1::CheckRequest { containers: vec![container("main", &image)], ..request() }
}

#[test]
fn what_is_kept_is_bounded_and_what_is_used_stays() {
    const MAX: usize = 64 * 1024;
    let near = NearCache::new(MAX);
    let now = Instant::now();
    near.heard(REPLICA, &news("r1", &[]), now);
    for number in 0..1_000 {
        keep(&near, &numbered(number), &response(&[], &[1]));
        assert!(near.stats().bytes <= MAX);
        assert!(near.find(&numbered(0), now).is_some());
    }
    let stats = near.stats();
    assert!(stats.entries > 10 && stats.evicted == 1_000 - stats.entries as u64, "{stats:?}");
    assert!(near.find(&numbered(1), now).is_none());
    assert!(near.find(&numbered(999), now).is_some());

    // One that would take all the room is not kept.
    let mut huge = v1::CheckResponse::clone(&response(&[], &[1]));
    huge.decisions[0].message = "x".repeat(MAX / 8);
    keep(&near, &numbered(1_000), &Arc::new(huge));
    assert!(near.find(&numbered(1_000), now).is_none());
}

#[test]
fn answers_depend_on_so_many_sets_of_fields_and_no_more() {
    let (near, now) = cache();
    for (number, word) in WORDS.iter().enumerate().take(MAX_MASKS + 1) {
        keep(&near, &numbered(number), &response(&[word], &[1]));
        assert_eq!(near.find(&numbered(number), now).is_some(), number < MAX_MASKS);
    }
    // What is gone makes room.
    near.heard(REPLICA, &news("r1", &[1]), now);
    keep(&near, &numbered(0), &response(&[WORDS[MAX_MASKS]], &[1]));
    assert!(near.find(&numbered(0), now).is_some());
}

/// The bound is of memory, not of messages.
#[test]
fn an_entry_weighs_no_less_than_it_takes() {
    let finding = || v1::Finding {
        id: "CVE-2022-37434".to_owned(),
        aliases: vec!["GHSA-xxxx".to_owned(); 2],
        package: "zlib".to_owned(),
        installed: "1.2.11".to_owned(),
        fixed: vec!["1.2.12".to_owned()],
        ..v1::Finding::default()
    };
    let violation = || v1::Violation {
        rule: "no-high".to_owned(),
        message: "zlib 1.2.11 has CVE-2022-37434 (critical)".to_owned(),
        findings: (0..20).map(|_| finding()).collect(),
        ..v1::Violation::default()
    };
    for violations in [0, 1, 64] {
        let near = NearCache::new(64 << 20);
        near.heard(REPLICA, &news("r1", &[]), Instant::now());
        let measured = allocation_counter::measure(|| {
            for number in 0..16 {
                let mut full = v1::CheckResponse::clone(&response(&["namespace"], &[1, 2]));
                full.decisions[0].violations = (0..violations).map(|_| violation()).collect();
                full.decisions[0].evidence[0].digest = named(number);
                keep(&near, &numbered(usize::from(number)), &Arc::new(full));
            }
        });
        let (held, said) = (measured.bytes_current, near.stats().bytes);
        let held = usize::try_from(held).unwrap();
        assert_eq!(near.stats().entries, 16);
        assert!(said >= held, "{violations}: {held} bytes are held, {said} are said");
        assert!(said <= 4 * held, "{violations}: {held} bytes are held, {said} are said");
    }
}

#[test]
fn an_age_beyond_the_bound_is_cut() {
    let (near, now) = cache();
    let mut long = v1::CheckResponse::clone(&response(&[], &[1]));
    long.max_age = Some(prost_types::Duration { seconds: 1_000_000, nanos: 0 });
    keep(&near, &request(), &Arc::new(long));
    let end = now + MAX_AGE;
    near.heard(REPLICA, &news("r1", &[]), end);
    assert!(near.find(&request(), end - SECOND).is_some());
    assert!(near.find(&request(), end + SECOND).is_none());
}

#[test]
fn advice_is_kept_for_advice_alone() {
    let (near, now) = cache();
    let advice = v1::CheckRequest { purpose: v1::Purpose::Advice.into(), ..request() };
    keep(&near, &advice, &response(&[], &[1]));
    assert!(near.find(&advice, now).is_some());
    assert!(near.find(&request(), now).is_none());
}
