//! What is decided about many images at once, beside what is decided about each alone.
#![expect(clippy::string_slice, reason = "all that is drawn is ASCII")]

use proptest::prelude::*;

use super::answer::Answer;
use super::case::Case;
use super::draws::{Draws, Random};
use super::oracle;
use super::properties::config;
use super::random::evidence::{GHOST, digest, subjects};
use super::random::{case, image};
use super::spec::Matcher;
use crate::decide::{Decision, Many, Verdict};

/// Questions about images of one repository in one context at one time. Often a rule, an exemption or
/// another of its scopes looks at their digests.
fn questions(draws: &mut Draws) -> Vec<Case> {
    let mut first = case(draws);
    first.image = image(draws);
    let digests = ["", "linux/amd64", GHOST].map(digest);
    for number in 0..first.document.rules.len() {
        if draws.one_in(3) {
            let (named, text) =
                (first.image.at(draws.pick(&digests)), draws.pick(&digests).to_string());
            let (operator, value) = match draws.below(4) {
                0 => ("equals", named.as_str()),
                1 => ("notEquals", named.as_str()),
                2 => ("endsWith", &text[..]),
                _ => ("contains", &text[60..]),
            };
            let matcher = Matcher { field: "image", operator, values: vec![value.to_owned()] };
            first.document.rules[number].scope.matchers.push(matcher);
        }
    }
    let of = |draws: &mut Draws| {
        let image = first.image.at(draws.pick(&digests));
        let subjects = if draws.one_in(3) { first.subjects.clone() } else { subjects(draws) };
        Case { image, subjects, ..first.clone() }
    };
    let mut questions = vec![of(draws)];
    questions.extend(draws.list(5, 6, of));
    questions
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn many_images_are_decided_as_each_alone_and_as_the_oracle_does(cases in Random(questions)) {
        let first = &cases[0];
        let policy = first.policy();
        // What else the reference names that says which repository it is makes no difference.
        let tagged = format!("{}:v1", first.image.name()).parse().unwrap();
        for repository in [&first.image, &tagged] {
            let many = Many::new(&policy, repository, &first.ctx, &first.ctx.container, first.now);
            for case in &cases {
                let decision = many.decide(case.image.digest().unwrap(), &case.subjects);
                prop_assert!(decision == case.decision_at(&policy, case.now), "alone it is another");
                prop_assert!(Answer::of(&decision) == oracle(case), "the answers differ");
                let verdict = many.verdict(case.image.digest().unwrap(), &case.subjects);
                let Decision { action, rule, changes_at, .. } = decision;
                prop_assert_eq!(verdict, Verdict { action, rule, changes_at });
            }
        }
    }
}
