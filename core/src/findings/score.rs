//! A number or a CVSS v3 vector in, a base score out.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};

use super::Severity;

/// A CVSS base score, 0.0 to 10.0, in tenths.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Score(u8);

impl Score {
    /// The score `value`, rounded up to a tenth as CVSS does; `None` outside of 0.0 to 10.0.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        if !(0.0..=10.0).contains(&value) {
            return None;
        }
        // CVSS v3.1, appendix A: in whole hundred-thousandths, so that 4.02 of floats is 4.1, and
        // 4.000002 is 4.0.
        let tenths = ((value * 100_000.0).round() / 10_000.0).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 0 and 100, as checked above"
        )]
        Some(Self(tenths as u8))
    }

    /// The base score of a CVSS v3.0 or v3.1 vector (specification 3.1, section 7.1), whatever else
    /// it says; `None` if it is not such a vector, or one that lacks or repeats a base metric.
    #[must_use]
    pub fn from_vector(vector: &str) -> Option<Self> {
        let metrics =
            vector.strip_prefix("CVSS:3.1/").or_else(|| vector.strip_prefix("CVSS:3.0/"))?;
        let metric = |name: &str| {
            let mut stated = metrics.split('/').filter_map(|m| m.split_once(':'));
            let (_, value) = stated.by_ref().find(|(n, _)| *n == name)?;
            stated.all(|(n, _)| n != name).then_some(value)
        };
        let changed = match metric("S")? {
            "U" => false,
            "C" => true,
            _ => return None,
        };
        let vector = match metric("AV")? {
            "N" => 0.85,
            "A" => 0.62,
            "L" => 0.55,
            "P" => 0.2,
            _ => return None,
        };
        let complexity = match metric("AC")? {
            "L" => 0.77,
            "H" => 0.44,
            _ => return None,
        };
        let privileges = match (metric("PR")?, changed) {
            ("N", _) => 0.85,
            ("L", false) => 0.62,
            ("L", true) => 0.68,
            ("H", false) => 0.27,
            ("H", true) => 0.5,
            _ => return None,
        };
        let interaction = match metric("UI")? {
            "N" => 0.85,
            "R" => 0.62,
            _ => return None,
        };
        let kept = |name| match metric(name)? {
            "H" => Some(1.0 - 0.56),
            "L" => Some(1.0 - 0.22),
            "N" => Some(1.0),
            _ => None,
        };
        let lost: f64 = 1.0 - kept("C")? * kept("I")? * kept("A")?;
        let exploitability = 8.22 * vector * complexity * privileges * interaction;
        let (impact, factor) = if changed {
            (7.52 * (lost - 0.029) - 3.25 * (lost - 0.02).powi(15), 1.08)
        } else {
            (6.42 * lost, 1.0)
        };
        if impact <= 0.0 {
            return Some(Self(0));
        }
        Self::from_f64((factor * (impact + exploitability)).min(10.0))
    }

    /// The score as a number.
    #[must_use]
    pub fn value(self) -> f64 {
        f64::from(self.0) / 10.0
    }

    /// The rating of the score (CVSS v3.1, section 5; v4.0, section 6).
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self.0 {
            0 => Severity::Negligible,
            1..40 => Severity::Low,
            40..70 => Severity::Medium,
            70..90 => Severity::High,
            _ => Severity::Critical,
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl serde::Serialize for Score {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.value())
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::from_f64(value).ok_or_else(|| de::Error::custom(OutOfRange(value)))
    }
}

/// A number that no CVSS score has.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a CVSS score: expected 0.0 to 10.0")]
pub(super) struct OutOfRange(pub(super) f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vector: &str, expected: Option<&str>) {
        let score = Score::from_vector(vector).map(|s| s.to_string());
        assert_eq!(score.as_deref(), expected, "{vector}");
    }

    #[test]
    fn vectors_have_the_scores_that_are_published_for_them() {
        // The examples of FIRST's guide and NVD's entries.
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some("9.8"));
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", Some("10.0"));
        check("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", Some("7.8"));
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some("6.1"));
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", Some("5.3"));
        check("CVSS:3.0/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:L/A:N", Some("4.8"));
        check("CVSS:3.0/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:L/A:L", Some("5.6"));
        check("CVSS:3.1/AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:H", Some("8.2"));
        check("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", Some("6.4"));
        check("CVSS:3.0/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", Some("3.1"));
        check("CVSS:3.0/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", Some("4.2"));
        check("CVSS:3.0/AV:N/AC:L/PR:H/UI:N/S:C/C:H/I:H/A:H", Some("9.1"));
        check("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:N", Some("4.6"));
        check("CVSS:3.1/AV:A/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", Some("6.5"));
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", Some("0.0"));
        // Temporal metrics do not change the base score.
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:U/RL:O", Some("9.8"));
    }

    #[test]
    fn what_is_no_such_vector_has_no_score() {
        check("", None);
        check("CVSS:3.1/", None);
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", None);
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N/A:H", None);
        check("CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None);
        check("AV:N/AC:L/Au:N/C:P/I:N/A:N", None);
        check("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None);
    }

    #[test]
    fn a_score_lies_between_0_and_10_and_has_the_severity_of_its_range() {
        let table = [
            (0.0, Severity::Negligible),
            (0.04, Severity::Low),
            (0.1, Severity::Low),
            (3.9, Severity::Low),
            (4.0, Severity::Medium),
            (6.9, Severity::Medium),
            (6.95, Severity::High),
            (7.0, Severity::High),
            (8.9, Severity::High),
            (9.0, Severity::Critical),
            (10.0, Severity::Critical),
        ];
        for (value, severity) in table {
            assert_eq!(Score::from_f64(value).map(Score::severity), Some(severity), "{value}");
        }
        for value in [-0.1, 10.01, f64::NAN, f64::INFINITY] {
            assert_eq!(Score::from_f64(value), None, "{value}");
        }
    }

    #[test]
    fn every_tenth_is_printed_and_read_as_itself() {
        for tenths in 0..=100_u8 {
            let score = Score(tenths);
            assert_eq!(Score::from_f64(score.value()), Some(score));
            assert_eq!(Score::from_f64(score.to_string().parse().unwrap()), Some(score));
            let json = serde_json::to_string(&score).unwrap();
            assert_eq!(serde_json::from_str::<Score>(&json).unwrap(), score);
        }
    }
}
