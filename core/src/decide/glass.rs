//! A denial and a reason why the image must run in, the denial lifted where policy permits it.

use std::sync::Arc;

use super::{Action, Context, Decision, Lifted, Notice, NoticeKind, Refusal, printable};
use crate::policy::{Policy, Target};

/// The longest justification that is kept, in bytes.
pub const MAX_JUSTIFICATION: usize = 1024;

/// Lifts a denial if `ctx` says why and one break-glass entry permits it for every rule that denies.
pub(super) fn lift(decision: &mut Decision, policy: &Policy, target: &Target<'_>, ctx: &Context) {
    if ctx.break_glass.is_empty() || decision.action != Action::Deny {
        return;
    }
    let denying = || decision.violations.iter().filter(|v| v.action == Action::Deny);
    let mut entries = Vec::new();
    policy.break_glass_in_scope(target, |entry| entries.push(entry));
    // In the order of the policy, in which they lie side by side.
    entries.sort_unstable_by_key(|entry| std::ptr::from_ref(*entry));
    let entry = entries
        .into_iter()
        .find(|entry| denying().all(|violation| entry.lifts(&violation.rule, target)));
    match entry {
        Some(entry) => {
            decision.action = Action::Audit;
            decision.break_glass = Some(Lifted {
                name: Arc::clone(entry.name()),
                justification: printable(&ctx.break_glass, MAX_JUSTIFICATION),
            });
        }
        None => {
            decision.refuse(Refusal::NotPermitted);
        }
    }
}

impl Decision {
    /// The decision as it is without break-glass: for whoever cannot record that it was used.
    #[must_use]
    pub fn without_break_glass(mut self) -> Self {
        if self.break_glass.take().is_some() {
            self.action = Action::Deny;
            self.refuse(Refusal::NotRecorded);
        }
        self
    }

    /// Says first that a reason was given in vain, so that no bound on notices cuts that off.
    fn refuse(&mut self, why: Refusal) {
        let kind = NoticeKind::BreakGlassRefused(why);
        self.notices.insert(0, Notice { rule: None, subject: None, platform: None, kind });
    }
}
