//! A policy and the time in, what deserves a look out: warnings, and how many exemptions hold.

use portcullis_core::policy::{Policy, Problem};
use time::OffsetDateTime;

use crate::metrics::Metrics;

/// What was said of the policy in force.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    revision: String,
    said: Vec<Problem>,
}

impl Upkeep {
    /// Logs what has become doubtful since the last look, and counts the exemptions.
    pub(super) fn look(&mut self, policy: &Policy, now: OffsetDateTime, metrics: &Metrics) {
        for warning in self.news(policy, now) {
            tracing::warn!("{warning}");
        }
        count(policy, now, metrics);
    }

    /// The warnings that were not there at the last look, and all for another policy.
    fn news(&mut self, policy: &Policy, now: OffsetDateTime) -> Vec<Problem> {
        if self.revision != policy.revision() {
            *self = Self { revision: policy.revision().to_owned(), said: Vec::new() };
        }
        let warnings = policy.warnings_at(now);
        let news = warnings.iter().filter(|warning| !self.said.contains(warning));
        let news = news.cloned().collect();
        self.said = warnings;
        news
    }
}

fn count(policy: &Policy, now: OffsetDateTime, metrics: &Metrics) {
    let (mut pending, mut active, mut expired) = (0_usize, 0_usize, 0_usize);
    for exemption in policy.exemptions() {
        let state = if exemption.holds(now) {
            &mut active
        } else if exemption.until().is_some_and(|until| until <= now) {
            &mut expired
        } else {
            &mut pending
        };
        *state += 1;
    }
    metrics.exemptions("pending", pending);
    metrics.exemptions("active", active);
    metrics.exemptions("expired", expired);
}

#[cfg(test)]
mod tests {
    use portcullis_core::policy::{self, Source};
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    /// The end of two exemptions; a third does not end.
    const END: OffsetDateTime = datetime!(2027-01-01 0:00 UTC);

    fn exempting(name: &str) -> Policy {
        let exemption = |name: &str, more: &str| {
            format!(
                "{{name: {name}, owner: o, reason: r, \
                 match: [{{field: namespace, operator: equals, values: [a]}}]{more}}}"
            )
        };
        let text = format!(
            "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  exemptions: [{}, {}, {}]\n  \
             rules: [{{name: r, maxAllowed: {{high: 0}}}}]\n",
            exemption(name, ", until: 2026-12-31"),
            exemption("late", ", from: 2026-12-31, until: 2026-12-31"),
            exemption("lasting", "")
        );
        policy::parse(&[Source { file: "r".to_owned(), text }]).unwrap()
    }

    #[test]
    fn what_ends_is_said_when_it_nears_and_when_it_is_over_and_to_every_policy() {
        let (first, second) = (exempting("first"), exempting("second"));
        let mut upkeep = Upkeep::default();
        let mut about = |policy, now, name: &str| {
            let news = upkeep.news(policy, now);
            news.iter().filter(|problem| problem.message.contains(name)).count()
        };
        let (early, near) = (END - Duration::days(60), END - Duration::hours(30));
        assert_eq!(about(&first, early, "first"), 0);
        assert_eq!(about(&first, near, "first"), 1);
        assert_eq!(about(&first, near, "first"), 0);
        assert_eq!(about(&second, near, "second"), 1);
        assert_eq!(about(&second, END - Duration::NANOSECOND, "second"), 1);
        assert_eq!(about(&second, END, "second"), 1);
        assert_eq!(about(&second, END + Duration::days(1), "second"), 0);
    }

    #[test]
    fn exemptions_are_counted_by_their_state_at_every_boundary() {
        let policy = exempting("first");
        let check = |now, expected: [u32; 3]| {
            let metrics = Metrics::new();
            count(&policy, now, &metrics);
            let text = metrics.encode().unwrap();
            for (state, count) in ["pending", "active", "expired"].iter().zip(expected) {
                let line = format!("portcullis_exemptions{{state=\"{state}\"}} {count}\n");
                assert!(text.contains(&line), "{now}: no {line}");
            }
        };
        let from = datetime!(2026-12-31 0:00 UTC);
        check(from - Duration::NANOSECOND, [1, 2, 0]);
        check(from, [0, 3, 0]);
        check(END - Duration::NANOSECOND, [0, 3, 0]);
        check(END, [0, 1, 2]);
    }
}
