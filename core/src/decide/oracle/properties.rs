//! What holds of every question, drawn at random.
//!
//! `PROPTEST_CASES` asks for more of them (CONTRIBUTING.md says how to ask for a million). What fails
//! is shown as small as it can be made, with both answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use time::OffsetDateTime;

use super::answer::{Answer, Fault, are_alike};
use super::case::Case;
use super::draws::{Draws, Random};
use super::merged::merged;
use super::oracle;
use super::random::{another, case, context, exemption, time_of};
use super::spec::Exemption;
use super::weighed::{covers, exempts};
use crate::decide::{Applied, Condition, Context, NoticeKind};
use crate::evidence::{Evidence, Reports};
use crate::findings::Findings;
use crate::policy::Field;

/// The least number of questions to both sides, where nobody asks for more.
const CASES: u32 = 2000;

pub(super) fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    // A fault that is found becomes a test of its own.
    ProptestConfig { max_shrink_iters: 200_000, failure_persistence: None, ..default }
}

/// Questions to one policy, which costs more to read than they do.
fn questions(draws: &mut Draws) -> Vec<Case> {
    let first = case(draws);
    let mut questions = draws.list(3, 6, |draws| another(draws, &first));
    questions.push(first);
    questions
}

/// A question, and another time that is not before it.
fn case_and_later(draws: &mut Draws) -> (Case, OffsetDateTime) {
    let case = case(draws);
    let later = time_of(draws, &case).max(case.now);
    (case, later)
}

/// A question, and times at which it is asked again, with and without some exemptions.
fn case_again(draws: &mut Draws) -> (Case, Vec<(OffsetDateTime, bool)>) {
    let case = case(draws);
    let times = (0..6).map(|_| (time_of(draws, &case), draws.one_in(3))).collect();
    (case, times)
}

/// A question, and another context.
fn case_elsewhere(draws: &mut Draws) -> (Case, Context) {
    (case(draws), context(draws))
}

/// A question, and the same in another order of rules, exemptions, reports and manifests.
fn shuffled(draws: &mut Draws) -> (Case, Case) {
    let case = case(draws);
    let mut other = case.clone();
    draws.shuffle(&mut other.document.rules);
    draws.shuffle(&mut other.document.exemptions);
    draws.shuffle(&mut other.subjects);
    for subject in &mut other.subjects {
        if let Evidence::Verified(reports) = &*subject.evidence {
            let (mut list, mut vex) = (reports.to_vec(), reports.vex().to_vec());
            draws.shuffle(&mut list);
            draws.shuffle(&mut vex);
            subject.evidence = Arc::new(Evidence::verified(Reports::new(list, vex)));
        }
    }
    (case, other)
}

/// A question, and two exemptions that its policy does not have.
fn two_exemptions(draws: &mut Draws) -> (Case, [Exemption; 2]) {
    let case = case(draws);
    let names: Vec<_> = case.document.rules.iter().map(|rule| rule.name.clone()).collect();
    let mut extra = |name: &str| exemption(draws, name.to_owned(), &names);
    let extra = [extra("x"), extra("y")];
    (case, extra)
}

/// A question whose manifests have at most one report each, and the same without one of its findings.
fn without_a_finding(draws: &mut Draws) -> (Case, Case) {
    let mut case = case(draws);
    case.document.deny_overrides = true;
    let mut all = Vec::new();
    for (number, subject) in case.subjects.iter_mut().enumerate() {
        if let Evidence::Verified(reports) = &*subject.evidence {
            let one = reports.iter().take(1).cloned().collect();
            let findings = reports.first().map_or(0, |report| report.findings.len());
            all.extend((0..findings).map(|place| (number, place)));
            let reports = Reports::new(one, reports.vex().to_vec());
            subject.evidence = Arc::new(Evidence::verified(reports));
        }
    }
    let mut other = case.clone();
    if !all.is_empty() {
        let (number, place) = draws.pick(&all);
        let subject = &mut other.subjects[number];
        let Evidence::Verified(reports) = &*subject.evidence else { panic!("verified") };
        let mut report = (*reports[0]).clone();
        let Findings { scanner, scanned_at, .. } = report.findings.clone();
        let mut list: Vec<_> = report.findings.iter().map(|f| f.to_finding()).collect();
        list.remove(place);
        report.findings = Findings::new(scanner, scanned_at, list);
        let reports = Reports::new(vec![Arc::new(report)], reports.vex().to_vec());
        subject.evidence = Arc::new(Evidence::verified(reports));
    }
    (case, other)
}

/// One context in `fields`, and another in all others.
fn mixed(one: &Context, other: &Context, fields: &[Field]) -> Context {
    let is_of = |field| if fields.contains(&field) { one } else { other }.clone();
    Context {
        provider: is_of(Field::Provider).provider,
        account: is_of(Field::Account).account,
        region: is_of(Field::Region).region,
        cluster: is_of(Field::Cluster).cluster,
        namespace: is_of(Field::Namespace).namespace,
        namespace_labels: is_of(Field::NamespaceLabels).namespace_labels,
        workload_kind: is_of(Field::Workload).workload_kind,
        workload: is_of(Field::Workload).workload,
        pod: is_of(Field::Pod).pod,
        pod_labels: is_of(Field::PodLabels).pod_labels,
        service_account: is_of(Field::ServiceAccount).service_account,
        container: is_of(Field::Container).container,
        break_glass: is_of(Field::BreakGlass).break_glass,
    }
}

fn with(case: &Case, exemptions: &[&Exemption]) -> Case {
    let mut case = case.clone();
    case.exemptions_mut().extend(exemptions.iter().map(|exemption| (*exemption).clone()));
    case
}

/// Whether two are of the same condition, however many findings there are.
fn is_same(a: &Fault, b: &Fault) -> bool {
    let condition = match (&a.condition, &b.condition) {
        (
            Condition::MaxAllowed { population, level, limit, .. },
            Condition::MaxAllowed { population: p, level: l, limit: n, .. },
        ) => (population, level, limit) == (p, l, n),
        (a, b) => a == b,
    };
    condition && (&a.rule, a.subject, &a.platform) == (&b.rule, b.subject, &b.platform)
}

/// Whether an exemption is about nothing in a question: not the container, or none of the findings
/// and not the evidence.
fn is_about_nothing(exemption: &Exemption, case: &Case) -> bool {
    let index = case.subjects.iter().find(|subject| subject.platform.is_none());
    case.subjects.iter().all(|subject| {
        let digests = [subject.digest, index.and_then(|i| i.digest), case.image.digest()];
        let digests: Vec<_> = digests.into_iter().flatten().collect();
        if !covers(exemption, case, &digests) {
            return true;
        }
        let for_findings = exemption.until_fixed
            || exemption.matchers.iter().any(|matcher| matcher.field == "vulnerability");
        let Evidence::Verified(reports) = &*subject.evidence else {
            return for_findings;
        };
        // By any number of the reports, which are merged differently.
        let mut newest = reports.to_vec();
        newest.sort_by_key(|r| (std::cmp::Reverse(r.findings.scanned_at), r.digest));
        let mut some = (0..=newest.len())
            .flat_map(|from| (from..=newest.len()).map(move |to| (from, to)))
            .flat_map(|(from, to)| merged(&newest[from..to]));
        for_findings && !some.any(|finding| exempts(exemption, &finding))
    }) && !case.subjects.is_empty()
}

#[test]
fn questions_are_answered_in_every_way() {
    let mut ways = BTreeSet::new();
    for seed in 0..2000 {
        let decision = case(&mut Draws::new(seed)).decision();
        ways.insert(decision.action.as_str());
        ways.extend(decision.violations.iter().map(|v| v.condition.as_str()));
        ways.extend(decision.notices.iter().map(|notice| notice.kind.as_str()));
        ways.extend(decision.break_glass.map(|_| "lifted"));
        let exempt = |applied: &Applied| {
            let of_evidence = applied.condition.map(|_| "exempt_evidence");
            of_evidence.or((applied.total() > 0).then_some("exempt_findings"))
        };
        ways.extend(decision.exemptions.iter().filter_map(exempt));
    }
    let expected = "allow audit deny lifted exempt_evidence exempt_findings \
                    max_allowed max_allowed_fixable max_allowed_unfixable forbidden \
                    untrusted_image unscanned rejected stale unconfirmed withheld unavailable \
                    unsupported out_of_scope unsupported_registry allowed_image cleared \
                    break_glass_refused old_report early_report signature";
    assert_eq!(ways, expected.split_whitespace().collect());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: config().cases.max(CASES), ..config() })]

    #[test]
    fn the_decision_is_the_oracles(questions in Random(questions)) {
        let policy = questions[0].policy();
        for case in &questions {
            let decision = case.decision_at(&policy, case.now);
            prop_assert!(Answer::of(&decision) == oracle(case), "the answers differ");
            let deciding = decision.violations.iter().filter(|v| v.deciding).count();
            prop_assert_eq!(deciding, usize::from(!decision.violations.is_empty()));
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_answer_holds_until_it_says((case, later) in Random(case_and_later)) {
        let policy = case.policy();
        let first = case.decision();
        let at = |now| {
            let mut decision = case.decision_at(&policy, now);
            decision.changes_at = first.changes_at;
            decision.policy_revision = first.policy_revision.clone();
            decision
        };
        let end = first.changes_at.unwrap_or(OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap());
        prop_assert!(end > case.now, "it has ended already");
        prop_assert!(at(end - time::Duration::NANOSECOND) == first, "it ends before it says");
        prop_assert!(later >= end || at(later) == first, "it ends before it says, at {}", later);
        let boundaries = case.boundaries();
        prop_assert!(first.changes_at.is_none_or(|end| boundaries.contains(&end)), "nothing ends then");
        // What begins or ends in between is in the next answer.
        let next = Case { now: end, ..case.clone() };
        prop_assert!(Answer::of(&next.decision()) == oracle(&next), "the next answer is wrong");
    }

    #[test]
    fn what_is_kept_beside_reports_changes_no_answer((case, times) in Random(case_again)) {
        let mut other = case.clone();
        other.document.exemptions.clear();
        other.document.rules.reverse();
        let (policy, other_policy) = (case.policy(), other.policy());
        for (now, is_other) in times {
            let (case, policy) =
                if is_other { (&other, &other_policy) } else { (&case, &policy) };
            let answer = Answer::of(&case.decision_at(policy, now));
            prop_assert!(answer == oracle(&Case { now, ..case.clone() }), "{answer:?} at {now}");
        }
    }

    #[test]
    fn an_answer_depends_on_nothing_that_it_does_not_vary_by((case, ctx) in Random(case_elsewhere)) {
        let policy = case.policy();
        let mut here = case.decision_at(&policy, case.now);
        let elsewhere = Case { ctx: mixed(&case.ctx, &ctx, policy.vary()), ..case.clone() };
        let mut there = elsewhere.decision_at(&policy, case.now);
        for decision in [&mut here, &mut there] {
            // It is told of whether or not the policy knows break-glass.
            let is_refusal = |kind: &_| matches!(kind, NoticeKind::BreakGlassRefused(_));
            decision.notices.retain(|notice| !is_refusal(&notice.kind));
        }
        prop_assert!(here == there, "it is another with {:?}: {there:?}", elsewhere.ctx);
    }

    #[test]
    fn the_order_of_what_is_written_and_attached_does_not_matter((case, other) in Random(shuffled)) {
        let (a, b) = (case.decision(), other.decision());
        prop_assert!(Answer::of(&a) == Answer::of(&b), "the answers differ");
        prop_assert_eq!(a.changes_at, b.changes_at);
    }

    #[test]
    fn an_exemption_never_makes_an_answer_stricter((case, [extra, _]) in Random(two_exemptions)) {
        let before = Answer::of(&case.decision());
        let after = Answer::of(&with(&case, &[&extra]).decision());
        // Where the first of the walk decides, another rule's may come first without it.
        prop_assert!(!case.document.deny_overrides || after.action <= before.action);
        for violation in &after.violations {
            let same = before.violations.iter().find(|other| is_same(violation, other));
            prop_assert!(same.is_some(), "there is a new one: {violation:?}");
            prop_assert!(violation.total <= same.unwrap().total, "it has grown: {violation:?}");
        }
    }

    #[test]
    fn an_exemption_changes_nothing_that_it_is_not_about((case, extra) in Random(two_exemptions)) {
        let before = Answer::of(&case.decision());
        for extra in &extra {
            if is_about_nothing(extra, &case) {
                let after = Answer::of(&with(&case, &[extra]).decision());
                prop_assert!(after == before, "{extra:?} changes it to {after:?}");
            }
        }
    }

    #[test]
    fn two_exemptions_exempt_what_each_exempts((case, [x, y]) in Random(two_exemptions)) {
        let answer = |exemptions: &[&Exemption]| Answer::of(&with(&case, exemptions).decision());
        let (none, only_x, only_y, both) =
            (answer(&[]), answer(&[&x]), answer(&[&y]), answer(&[&x, &y]));
        let mut each = only_x.exemptions.clone();
        each.extend(only_y.exemptions.iter().filter(|e| e.name == "y").cloned());
        prop_assert!(are_alike(&both.exemptions, &each), "{both:?} is not {only_x:?} and {only_y:?}");
        for violation in &none.violations {
            let left = |answer: &Answer| {
                let same = answer.violations.iter().find(|other| is_same(violation, other));
                same.map(|fault| fault.findings.clone())
            };
            // A finding that neither exempts alone is counted with both.
            if let (Some(x), Some(y), Some(both)) = (left(&only_x), left(&only_y), left(&both)) {
                let expected: Vec<_> = x.into_iter().filter(|f| y.contains(f)).collect();
                prop_assert_eq!(both.len(), expected.len());
            }
        }
    }

    #[test]
    fn one_finding_less_never_makes_an_answer_stricter((case, other) in Random(without_a_finding)) {
        let (before, after) = (case.decision().action, other.decision().action);
        prop_assert!(after <= before, "{:?} with it and {:?} without", before, after);
    }
}
