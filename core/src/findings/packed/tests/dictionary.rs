//! Words that reports share, and that they say the same.

use super::*;
use crate::findings::packed::dictionary::MAX_SCANNERS;

proptest! {
    /// Whatever words are shared, a report says what it said.
    #[test]
    fn what_shares_words_says_the_same(
        own in prop::collection::vec(findings(), 0..20),
        others in prop::collection::vec(findings(), 0..20),
        max_bytes in 0..2_000_usize,
    ) {
        let of = |list| Findings::new(scanner(), AT, list);
        let (own, others) = (of(own), of(others));
        for dictionary in
            [Dictionary::of([&others], max_bytes), Dictionary::of([&others, &own], usize::MAX)]
        {
            let sharing = own.sharing(&dictionary);
            prop_assert_eq!(unpacked(&sharing), unpacked(&own));
            prop_assert_eq!(&sharing, &own);
            // And again, with words of which it has some already.
            prop_assert_eq!(&sharing.sharing(&Dictionary::of([&sharing], max_bytes)), &own);
        }
    }
}

fn plain() -> Finding {
    Finding {
        id: "".into(),
        aliases: Vec::new(),
        severity: Severity::High,
        score: None,
        package: None,
        purl: None,
        installed: None,
        fixed: Vec::new(),
        fix_state: FixState::NotStated,
        known_exploited: None,
        epss: None,
        published: None,
        first_seen: None,
        analysis: Analysis::Affected,
    }
}

#[test]
fn a_report_all_of_whose_words_are_shared_takes_a_number_for_each_finding() {
    let finding = |number: usize| Finding {
        id: format!("CVE-2024-{number}").into(),
        aliases: vec![format!("GHSA-{number}").into()],
        fixed: vec![format!("1.2.{number}").into()],
        package: Some(format!("lib{}", number / 3).into()),
        ..plain()
    };
    let own = Findings::new(scanner(), AT, (0..100).map(finding).collect());
    let dictionary = Dictionary::of([&own], usize::MAX);
    let sharing = own.sharing(&dictionary);
    let nothing = Findings::new(scanner(), AT, Vec::new()).sharing(&dictionary);
    assert_eq!(sharing.weight(), nothing.weight() + 100 * size_of::<u32>());
    assert_eq!((nothing.len(), nothing.get(0).is_none()), (0, true));
    assert!(Arc::ptr_eq(&sharing.pool, &dictionary.pool));
    let remains = dictionary.remains();
    assert!(0 < remains.weight() && remains.weight() < dictionary.weight());
    drop((dictionary, nothing));
    assert!(remains.weight() > 0, "it is shared");
    // A bound that is reached leaves the rest to the report.
    let small = Dictionary::of([&own], 1_000);
    let partly = own.sharing(&small).weight();
    assert!(partly > sharing.weight() && partly < own.weight());
    drop(sharing);
    assert_eq!(remains.weight(), 0);
}

#[test]
fn no_more_scanners_are_shared_than_each_report_is_compared_with() {
    let by = |number: usize| {
        let scanner = Scanner { name: format!("scanner {number}"), version: None };
        Findings::new(scanner, AT, Vec::new())
    };
    let all: Vec<_> = (0..=MAX_SCANNERS).map(by).collect();
    let dictionary = Dictionary::of(&all, usize::MAX);
    for (number, first) in all.iter().enumerate() {
        let shared = by(number).sharing(&dictionary);
        let is_one = Arc::ptr_eq(&shared.scanner, &first.scanner);
        assert_eq!((&shared, is_one), (first, number < MAX_SCANNERS));
    }
}
