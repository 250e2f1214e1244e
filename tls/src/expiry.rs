//! The end of a certificate and the time in, a warning out when it comes near: at 30, 7 and 1 days, and over.

use time::{Duration, OffsetDateTime};

use crate::pair::Validity;

/// When somebody is warned, in days before the end.
const WARNED: [u16; 3] = [30, 7, 1];

/// What is to be said of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It has so many days left, or less.
    Within(u16),
    /// It is not valid any more.
    Over,
}

/// What was said of a certificate.
#[derive(Debug, Default)]
pub(crate) struct Expiry(Option<(OffsetDateTime, usize)>);

impl Expiry {
    /// What is to be said at `now` that was not said before. Of a certificate that lives for a day nobody wants to
    /// hear each day that it has one left: what is more than half of a life is not said.
    pub(crate) fn look(&mut self, validity: Validity, now: OffsetDateTime) -> Option<Due> {
        let (left, life) = (validity.until - now, validity.until - validity.from);
        let said = |days: &&u16| {
            let span = Duration::days((**days).into());
            left <= span && span * 2 <= life
        };
        let mut near: Vec<_> = WARNED.iter().filter(said).map(|days| Due::Within(*days)).collect();
        if left <= Duration::ZERO {
            near.push(Due::Over);
        }
        let before =
            self.0.filter(|(until, _)| *until == validity.until).map_or(0, |(_, count)| count);
        // A clock that is set back does not make it said twice.
        self.0 = Some((validity.until, near.len().max(before)));
        if near.len() > before { near.last().copied() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const UNTIL: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

    /// What is said when so many seconds are left, one after the other, of one that lives for `days`.
    #[track_caller]
    fn check(days: i64, looks: &[(i64, Option<Due>)]) {
        let validity = Validity { from: UNTIL - Duration::days(days), until: UNTIL };
        let mut expiry = Expiry::default();
        for (left, expected) in looks {
            let said = expiry.look(validity, UNTIL - Duration::seconds(*left));
            assert_eq!(said, *expected, "{left} s left");
        }
    }

    const DAY: i64 = 24 * 3600;

    #[test]
    fn t153_it_is_said_once_at_30_7_and_1_days_and_when_it_is_over() {
        check(
            90,
            &[
                (80 * DAY, None),
                (30 * DAY + 1, None),
                (30 * DAY, Some(Due::Within(30))),
                (29 * DAY, None),
                (7 * DAY + 1, None),
                (7 * DAY, Some(Due::Within(7))),
                (DAY + 1, None),
                (DAY, Some(Due::Within(1))),
                (1, None),
                (0, Some(Due::Over)),
                (-DAY, None),
                // The clock was wrong for a moment.
                (8 * DAY, None),
                (-1, None),
            ],
        );
    }

    #[test]
    fn who_looks_late_hears_the_nearest() {
        check(90, &[(DAY / 2, Some(Due::Within(1))), (-1, Some(Due::Over))]);
    }

    #[test]
    fn a_short_life_is_no_alarm() {
        check(1, &[(DAY / 2, None), (1, None), (0, Some(Due::Over))]);
        check(10, &[(9 * DAY, None), (6 * DAY, None), (DAY, Some(Due::Within(1)))]);
        check(14, &[(7 * DAY, Some(Due::Within(7)))]);
    }

    #[test]
    fn a_new_certificate_begins_anew() {
        let of = |until| Validity { from: until - Duration::days(90), until };
        let mut expiry = Expiry::default();
        assert_eq!(expiry.look(of(UNTIL), UNTIL), Some(Due::Over));
        let next = UNTIL + Duration::days(20);
        assert_eq!(expiry.look(of(next), UNTIL), Some(Due::Within(30)));
        assert_eq!(expiry.look(of(UNTIL + Duration::days(90)), UNTIL), None);
    }
}
