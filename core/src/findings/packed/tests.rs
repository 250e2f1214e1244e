//! What goes in comes out, in order and in few bytes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use time::macros::{datetime, offset};

use super::*;

const AT: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);

fn scanner() -> Scanner {
    Scanner { name: "trivy".to_owned(), version: Some("0.60.0".to_owned()) }
}

/// With texts past `reach` bytes kept apart.
fn reaching(reach: u32, list: &[Finding]) -> Findings {
    let (rows, pool) = packed(list, reach);
    Findings::with_rows(Arc::new(scanner()), AT, rows, pool)
}

fn unpacked(findings: &Findings) -> Vec<Finding> {
    findings.iter().map(FindingRef::to_finding).collect()
}

/// The order of the walk, of findings that stand alone.
fn sorted(mut list: Vec<Finding>) -> Vec<Finding> {
    fn rest(f: &Finding) -> impl Ord + '_ {
        let last = (f.fix_state, f.known_exploited, f.epss, f.published, f.first_seen, f.analysis);
        (&f.id, &f.package, &f.installed, &f.purl, &f.aliases, &f.fixed, last)
    }
    list.sort_by(|a, b| {
        (b.severity, b.score).cmp(&(a.severity, a.score)).then_with(|| rest(a).cmp(&rest(b)))
    });
    list
}

/// Few texts, so that findings share them and are equal, or any.
fn texts() -> impl Strategy<Value = Box<str>> {
    let few = prop::sample::select(vec!["", "a", "b", "ab", "é", "\u{10ffff}", "CVE-2024-1"]);
    prop_oneof![4 => few.prop_map(Box::from), 1 => any::<String>().prop_map(Box::from)]
}

fn lists() -> impl Strategy<Value = Vec<Box<str>>> {
    prop::collection::vec(texts(), 0..4)
}

/// Whole seconds that fit a row, those just outside of it, and the ends of time.
fn times() -> impl Strategy<Value = OffsetDateTime> {
    const LISTED: i64 = 0xF000_0000;
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let edges = prop::sample::select(vec![
        at(-1),
        at(0),
        at(1),
        at(LISTED - 1),
        at(LISTED),
        at(LISTED + 1),
        at(u32::MAX.into()),
        AT + time::Duration::NANOSECOND,
        datetime!(-9999-01-01 00:00 UTC),
        datetime!(9999-12-31 23:59:59 UTC),
    ]);
    let zoned = prop::sample::select(vec![offset!(UTC), offset!(+14), offset!(-12)]);
    let any = (-377_000_000_000..253_000_000_000_i64, zoned)
        .prop_map(move |(seconds, zone)| at(seconds).to_offset(zone));
    prop_oneof![4 => edges, 1 => any]
}

fn findings() -> impl Strategy<Value = Finding> {
    let severity = prop::sample::select(vec![
        Severity::Unknown,
        Severity::Negligible,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ]);
    let score = prop::sample::select(vec![0.0, 0.1, 4.5, 9.9, 10.0])
        .prop_map(|score| Score::from_f64(score).unwrap());
    let fix_state = prop::sample::select(vec![
        FixState::NotStated,
        FixState::Fixed,
        FixState::NotFixed,
        FixState::WontFix,
    ]);
    let analysis =
        prop::sample::select(vec![Analysis::Affected, Analysis::NotAffected, Analysis::Fixed]);
    let epss = prop_oneof![Just(0.0), Just(-0.0), Just(1.0), 0.0..=1.0]
        .prop_map(|epss| Epss::from_f64(epss).unwrap());
    let option = prop::option::of::<BoxedStrategy<Box<str>>>;
    let package = (option(texts().boxed()), option(texts().boxed()), option(texts().boxed()));
    let when = (prop::option::of(times()), prop::option::of(times()));
    let states = (fix_state, any::<Option<bool>>(), analysis);
    let badness = (severity, prop::option::of(score), prop::option::of(epss));
    (texts(), lists(), badness, package, lists(), states, when).prop_map(
        |(id, aliases, (severity, score, epss), package, fixed, states, when)| Finding {
            id,
            aliases,
            severity,
            score,
            package: package.0,
            purl: package.1,
            installed: package.2,
            fixed,
            fix_state: states.0,
            known_exploited: states.1,
            epss,
            published: when.0,
            first_seen: when.1,
            analysis: states.2,
        },
    )
}

/// A report with findings that are there twice.
fn reports() -> impl Strategy<Value = Vec<Finding>> {
    prop::collection::vec((findings(), 1..3_usize), 0..12).prop_map(|list| {
        list.into_iter().flat_map(|(finding, times)| vec![finding; times]).collect()
    })
}

/// What `findings` take in memory, from what they say.
fn weighed(findings: &[Finding]) -> usize {
    let lists: BTreeSet<_> = findings.iter().flat_map(|f| [&f.aliases, &f.fixed]).collect();
    let packages: BTreeSet<_> =
        findings.iter().map(|f| (&f.package, &f.purl, &f.installed)).collect();
    let texts: BTreeSet<&str> = findings
        .iter()
        .map(|f| &*f.id)
        .chain(lists.iter().flat_map(|list| list.iter().map(|text| &**text)))
        .chain(packages.iter().flat_map(|(a, b, c)| [a, b, c]).filter_map(|text| text.as_deref()))
        .collect();
    let odd: BTreeSet<_> = findings
        .iter()
        .flat_map(|f| [f.published, f.first_seen])
        .flatten()
        .filter(|at| {
            at.nanosecond() != 0
                || !(datetime!(1970-01-01 00:00 UTC)..datetime!(2097-08-05 09:04:00 UTC))
                    .contains(at)
        })
        .collect();
    let vulnerabilities: BTreeSet<_> =
        findings.iter().map(|f| (&f.id, &f.aliases, f.published)).collect();
    let rare: BTreeSet<_> = findings.iter().map(|f| (f.first_seen, f.epss)).collect();
    let stated = rare.iter().filter(|rare| **rare != (None, None)).count();
    size_of::<Findings>()
        + size_of::<Scanner>()
        + size_of::<Pool>()
        + 2 * size_of::<usize>()
        + "trivy".len()
        + "0.60.0".len()
        + findings.len() * 20
        + vulnerabilities.len() * 12
        + stated * 8
        + texts.iter().map(|text| text.len() + 4).sum::<usize>()
        + lists.iter().map(|list| list.len() * 4 + 4).sum::<usize>()
        + packages.len() * 12
        + odd.len() * size_of::<OffsetDateTime>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1000)))]

    #[test]
    fn what_goes_in_comes_out_in_order_and_once(list in reports()) {
        let mut expected = sorted(list.clone());
        expected.dedup();
        let findings = Findings::new(scanner(), AT, list);
        prop_assert_eq!(findings.len(), expected.len());
        prop_assert_eq!(findings.is_empty(), expected.is_empty());
        prop_assert_eq!(unpacked(&findings), expected);
    }

    #[test]
    fn findings_are_counted_by_severity(list in reports()) {
        let findings = Findings::new(scanner(), AT, list);
        let severities = [
            Severity::Unknown,
            Severity::Negligible,
            Severity::Low,
            Severity::Medium,
            Severity::High,
            Severity::Critical,
        ];
        for severity in severities {
            let counted = findings.iter().filter(|f| f.severity() == severity).count();
            prop_assert_eq!(findings.count(severity), counted);
        }
    }

    #[test]
    fn findings_of_several_reports_are_there_as_often_as_reported(list in reports()) {
        let findings = Findings::with_repeats(scanner(), AT, list.clone());
        prop_assert_eq!(unpacked(&findings), sorted(list));
    }

    #[test]
    fn texts_that_are_far_are_read_as_those_that_are_near(list in reports(), reach in 0..40_u32) {
        prop_assert_eq!(unpacked(&reaching(reach, &list)), sorted(list));
    }

    #[test]
    fn the_order_of_a_report_is_of_no_consequence(
        (list, shuffled) in reports().prop_flat_map(|l| (Just(l.clone()), Just(l).prop_shuffle())),
        other in findings(),
    ) {
        let findings = Findings::new(scanner(), AT, list.clone());
        let shuffled = Findings::new(scanner(), AT, shuffled);
        prop_assert_eq!(&findings, &shuffled);
        prop_assert_eq!(findings.weight(), shuffled.weight());
        if !list.contains(&other) {
            let more = Findings::new(scanner(), AT, [list, vec![other]].concat());
            prop_assert_ne!(findings, more);
        }
    }

    #[test]
    fn the_weight_counts_every_byte_that_is_kept(list in reports()) {
        let findings = Findings::new(scanner(), AT, list);
        prop_assert_eq!(findings.weight(), weighed(&unpacked(&findings)));
    }

    #[test]
    fn places_and_parts_are_those_of_the_finding(list in reports()) {
        let findings = Findings::new(scanner(), AT, list);
        for (place, found) in findings.iter().enumerate() {
            let same = findings.get(place).unwrap();
            prop_assert!(same.walk_order(found).is_eq());
            prop_assert_eq!(found.aliases().len(), found.to_finding().aliases.len());
            prop_assert_eq!(found.ids().count(), found.aliases().len() + 1);
            prop_assert_eq!(format!("{found:?}"), format!("{:?}", found.to_finding()));
        }
        prop_assert!(findings.get(findings.len()).is_none());
    }
}

#[test]
fn only_texts_past_the_reach_are_kept_apart() {
    let list: Vec<_> =
        ["12", "345", "6", "12"].map(|id| Finding { id: id.into(), ..bare() }).into();
    let near = reaching(6, &list).weight();
    assert_eq!(reaching(u32::MAX, &list).weight(), near);
    // One byte less, and the last text takes a pointer and a length in place of its end.
    let apart = size_of::<Box<str>>() - 4;
    assert_eq!(reaching(5, &list).weight(), near + apart);
    // What comes after one that is apart is too, though it would fit.
    assert_eq!(reaching(4, &list).weight(), near + 2 * apart);
}

#[test]
fn findings_are_another_when_scanned_by_another_or_at_another_time() {
    let findings = Findings::new(scanner(), AT, vec![bare()]);
    let other = Scanner { name: "grype".to_owned(), version: None };
    assert_ne!(findings, Findings { scanner: Arc::new(other), ..findings.clone() });
    assert_ne!(
        findings,
        Findings { scanned_at: datetime!(2026-03-02 10:00 UTC), ..findings.clone() }
    );
}

fn bare() -> Finding {
    Finding {
        id: "CVE-2024-1".into(),
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

/// As a large image has them: 2,000 vulnerabilities in 300 packages, with all that a scanner states.
fn realistic() -> Vec<Finding> {
    let finding = |n: u32| {
        let (cve, package) = (n % 2000, (n % 2000 + n / 2000 * 37) % 300);
        let name = format!("libexample{package}-runtime");
        let installed =
            format!("{}.{}.{}-{}+deb12u3", package % 9, package % 31, package % 7, package);
        Finding {
            id: format!("CVE-{}-{}", 2015 + cve % 11, 1000 + cve * 17).into(),
            aliases: match cve % 3 {
                0 => vec![format!("GHSA-{cve:04}-{:04}-wxyz", cve * 7 % 9999).into()],
                _ => Vec::new(),
            },
            severity: [Severity::Low, Severity::Medium, Severity::High][(cve % 3) as usize],
            score: Score::from_f64(f64::from(cve % 100) / 10.0),
            purl: Some(
                format!("pkg:deb/debian/{name}@{installed}?arch=amd64&distro=debian-12").into(),
            ),
            package: Some(name.into()),
            fixed: match cve % 2 {
                0 => vec![format!("{installed}.{}", cve % 5).into()],
                _ => Vec::new(),
            },
            installed: Some(installed.into()),
            fix_state: FixState::Fixed,
            known_exploited: Some(cve.is_multiple_of(50)),
            epss: Epss::from_f64(f64::from(cve) / 2000.0),
            published: Some(AT - time::Duration::hours(cve.into())),
            first_seen: Some(AT),
            analysis: Analysis::Affected,
        }
    };
    (0..10_000).map(finding).collect()
}

#[test]
fn a_finding_takes_20_bytes_and_its_share_of_the_texts() {
    let list = realistic();
    let count = list.len();
    let before = list.iter().map(alone).sum::<usize>() / count;
    let findings = Findings::new(scanner(), AT, list);
    assert_eq!(findings.len(), count);
    let rows = count * size_of::<Row>();
    assert_eq!(rows, count * 20);
    let all = findings.weight() / count;
    println!("bytes per finding: {} in rows, {all} in all, {before} alone", rows / count);
    assert!(all <= 64, "{all}");
}

/// What a finding takes that shares nothing.
fn alone(finding: &Finding) -> usize {
    let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
    let list = |list: &[Box<str>]| list.iter().map(|t| size_of_val(t) + t.len()).sum::<usize>();
    size_of::<Finding>()
        + finding.id.len()
        + text(&finding.package)
        + text(&finding.purl)
        + text(&finding.installed)
        + list(&finding.aliases)
        + list(&finding.fixed)
}

mod dictionary;
