//! A policy, an image and where it would run in, the rules that are about it out.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Notice, NoticeKind};
use crate::policy::{ImagePatterns, Policy, Rule, Target};

/// Rules in the order of the policy.
pub(super) type Rules<'p> = SmallVec<[&'p Rule; 16]>;

/// The enabled rules whose scopes cover a container, in the order of the policy.
#[derive(Debug)]
pub(super) struct Scoped<'p> {
    policy: &'p Policy,
    rules: Rules<'p>,
    /// Whether some of them leave registries or images alone.
    leaves_some: bool,
}

impl<'p> Scoped<'p> {
    pub(super) fn new(policy: &'p Policy, target: &Target<'_>) -> Self {
        let mut rules = Rules::new();
        policy.rules_in_scope(target, |rule| rules.push(rule));
        // They lie side by side in the policy.
        rules.sort_unstable_by_key(|rule| std::ptr::from_ref(*rule));
        let leaves = |rule: &&Rule| !rule.unsupported.is_empty() || !rule.allowed_images.is_empty();
        let leaves_some = rules.iter().any(leaves);
        Self { policy, rules, leaves_some }
    }

    /// Those that do not leave the image of `target` alone, for which there is `room`. It is of the repository
    /// and the context that the scopes were asked about, and of no other.
    pub(super) fn rules<'s>(
        &'s self,
        target: &Target<'_>,
        notices: &mut Vec<Notice>,
        room: &'s mut Rules<'p>,
    ) -> &'s [&'p Rule] {
        let mut note = |rule: Option<&Rule>, kind| {
            let rule = rule.map(|rule| Arc::clone(rule.name()));
            notices.push(Notice { rule, subject: None, platform: None, kind });
        };
        let allowed = |patterns: &ImagePatterns| {
            let pattern = target.find(patterns)?.as_str().to_owned();
            Some(NoticeKind::AllowedImage { pattern })
        };
        if let Some(kind) = allowed(self.policy.allowed_images()) {
            note(None, kind);
            return &[];
        }
        if self.rules.is_empty() {
            note(None, NoticeKind::OutOfScope);
        }
        if !self.leaves_some {
            return &self.rules;
        }
        for rule in &self.rules {
            let kind = if target.is_in(&rule.unsupported) {
                Some(NoticeKind::UnsupportedRegistry)
            } else {
                allowed(&rule.allowed_images)
            };
            match kind {
                Some(kind) => note(Some(rule), kind),
                None => room.push(rule),
            }
        }
        room
    }
}
