//! What a report says of how bad a finding is in, one severity and one score out.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Severity;
use super::score::{OutOfRange, Score};

/// All ratings of one finding, of which the worst counts: who rates lower may know less.
///
/// Read from the `severity` of in-toto vulns, in the shapes that are seen: a list of
/// `{method, score}`, one of them, a bare word or number, or null. A score may be a word, a CVSS
/// number or a CVSS v3 vector. A number of another scale (CVSS v2, EPSS) or a word that is not
/// known is a rating that cannot be read: [`Severity::Unknown`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ratings {
    worst: Option<Severity>,
    score: Option<Score>,
}

impl Ratings {
    /// Adds a vendor's word.
    pub(super) fn word(&mut self, word: &str) {
        self.rate(Severity::from_word(word));
    }

    /// Adds a base score that tells the severity only where no word does.
    pub(super) fn score(&mut self, score: Score) {
        self.score = self.score.max(Some(score));
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: Self) {
        other.worst.into_iter().for_each(|s| self.rate(s));
        other.score.into_iter().for_each(|s| self.score(s));
    }

    /// The worst rating, else that of the highest score, else [`Severity::Unknown`].
    pub(super) fn severity(&self) -> Severity {
        let mut all = *self;
        if matches!(self.worst, None | Some(Severity::Unknown)) {
            self.score.into_iter().for_each(|s| all.rate(s.severity()));
        }
        all.worst.unwrap_or(Severity::Unknown)
    }

    /// The highest base score.
    pub(super) const fn highest(&self) -> Option<Score> {
        self.score
    }

    /// Of two ratings the worse. One that cannot be read outweighs only "of no consequence".
    fn rate(&mut self, severity: Severity) {
        let weight = |s: Option<Severity>| match s {
            None => 0,
            Some(Severity::Negligible) => 1,
            Some(Severity::Unknown) => 2,
            Some(Severity::Low) => 3,
            Some(Severity::Medium) => 4,
            Some(Severity::High) => 5,
            Some(Severity::Critical) => 6,
        };
        if weight(Some(severity)) > weight(self.worst) {
            self.worst = Some(severity);
        }
    }

    fn number(&mut self, method: &str, value: f64) -> Result<(), OutOfRange> {
        if !is_cvss(method) {
            self.rate(Severity::Unknown);
            return Ok(());
        }
        let score = Score::from_f64(value).ok_or(OutOfRange(value))?;
        self.rate(score.severity());
        self.score(score);
        Ok(())
    }

    fn text(&mut self, method: &str, text: &str) -> Result<(), OutOfRange> {
        let text = text.trim();
        if let Ok(value) = text.parse() {
            return self.number(method, value);
        }
        match Score::from_vector(text) {
            Some(score) => {
                self.rate(score.severity());
                self.score(score);
            }
            None => self.word(text),
        }
        Ok(())
    }
}

/// Whether numbers of this method are CVSS v3 or v4 scores. Method names are free; `nvd` publishes
/// nothing else, and a number without a method is what `severity` is for.
fn is_cvss(method: &str) -> bool {
    let method = method.trim().to_ascii_lowercase();
    let old = method.contains("v2") || method.contains("cvss2");
    method.is_empty() || method == "nvd" || (method.contains("cvss") && !old)
}

impl<'de> Deserialize<'de> for Ratings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Fold)
    }
}

struct Fold;

impl<'de> Visitor<'de> for Fold {
    type Value = Ratings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a severity: a list of ratings, a rating, a word or a score")
    }

    fn visit_unit<E>(self) -> Result<Ratings, E> {
        Ok(Ratings::default())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ratings, E> {
        one(|r| r.text("", text))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Ratings, E> {
        one(|r| r.number("", value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Ratings, E> {
        self.visit_f64(whole(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Ratings, E> {
        // Only negative numbers come here.
        Err(E::custom(format_args!("`{value}` is not a CVSS score: expected 0.0 to 10.0")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Ratings, A::Error> {
        let mut all = Ratings::default();
        while let Some(ratings) = seq.next_element()? {
            all.merge(ratings);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Ratings, A::Error> {
        let Rating { method, score } = Rating::deserialize(MapAccessDeserializer::new(map))?;
        let method = method.unwrap_or_default();
        match score {
            None => one(|r| {
                r.rate(Severity::Unknown);
                Ok(())
            }),
            Some(Value::Text(text)) => one(|r| r.text(&method, &text)),
            Some(Value::Number(value)) => one(|r| r.number(&method, value)),
        }
    }
}

fn one<E: de::Error>(
    fill: impl FnOnce(&mut Ratings) -> Result<(), OutOfRange>,
) -> Result<Ratings, E> {
    let mut ratings = Ratings::default();
    fill(&mut ratings).map_err(E::custom)?;
    Ok(ratings)
}

/// The number as a float; all that is past a score's bound is out of range alike.
fn whole(value: u64) -> f64 {
    u32::try_from(value).map_or(f64::INFINITY, f64::from)
}

/// `{"method": "nvd", "score": "medium"}`; OSV says `type`.
#[derive(serde::Deserialize)]
struct Rating {
    #[serde(default, alias = "type")]
    method: Option<String>,
    #[serde(default)]
    score: Option<Value>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Number(f64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, severity: Severity, score: Option<&str>) {
        let ratings: Ratings = serde_json::from_str(json).unwrap();
        assert_eq!(ratings.severity(), severity, "{json}");
        assert_eq!(ratings.highest().map(|s| s.to_string()).as_deref(), score, "{json}");
    }

    #[test]
    fn every_shape_of_severity_is_read() {
        check("null", Severity::Unknown, None);
        check("[]", Severity::Unknown, None);
        check("{}", Severity::Unknown, None);
        check(r#""High""#, Severity::High, None);
        check("7.5", Severity::High, Some("7.5"));
        check("7", Severity::High, Some("7.0"));
        check(r#"{"method":"nvd","score":"medium"}"#, Severity::Medium, None);
        check(r#"[{"method":"nvd","score":"medium"}]"#, Severity::Medium, None);
        check(r#"[{"method":"cvss_score","score":"5.2"}]"#, Severity::Medium, Some("5.2"));
        check(r#"[{"method":"cvss_score","score":5.2}]"#, Severity::Medium, Some("5.2"));
        check(r#"[{"method":"CVSS_V3","score":9}]"#, Severity::Critical, Some("9.0"));
        let vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
        check(
            &format!(r#"[{{"method":"CVSS_V3","score":"{vector}"}}]"#),
            Severity::Critical,
            Some("9.8"),
        );
        check(
            &format!(r#"[{{"type":"CVSS_V3","score":"{vector}"}}]"#),
            Severity::Critical,
            Some("9.8"),
        );
    }

    #[test]
    fn the_worst_of_several_ratings_counts() {
        check(
            r#"[{"method":"nvd","score":"medium"},{"method":"cvss_score","score":"9.8"}]"#,
            Severity::Critical,
            Some("9.8"),
        );
        check(
            r#"[{"method":"a","score":"critical"},{"method":"cvss","score":"2.0"}]"#,
            Severity::Critical,
            Some("2.0"),
        );
        check(r#"[{"score":"low"},{"score":"crit"}]"#, Severity::Low, None);
    }

    #[test]
    fn a_rating_that_cannot_be_read_is_unknown_and_never_none() {
        check(r#"[{"method":"vendor","score":"crit"}]"#, Severity::Unknown, None);
        check(r#"[{"method":"vendor"}]"#, Severity::Unknown, None);
        check(r#"[{"method":"epss","score":"0.02"}]"#, Severity::Unknown, None);
        check(r#"[{"method":"risk","score":85}]"#, Severity::Unknown, None);
        check(r#"[{"method":"CVSS_V2","score":"10.0"}]"#, Severity::Unknown, None);
        check(r#"[{"method":"CVSS_V3","score":"CVSS:3.1/AV:N"}]"#, Severity::Unknown, None);
        check(r#"[{"score":"none"},{"score":"catastrophic"}]"#, Severity::Unknown, None);
        check(r#"[{"score":"catastrophic"},{"score":"none"}]"#, Severity::Unknown, None);
    }

    #[test]
    fn a_score_out_of_range_is_refused() {
        for json in ["10.1", "-1", "18446744073709551615", r#""NaN""#, r#""1e999""#, r#""-0.1""#] {
            assert!(serde_json::from_str::<Ratings>(json).is_err(), "{json}");
            let rating = format!(r#"[{{"method":"cvss_score","score":{json}}}]"#);
            assert!(serde_json::from_str::<Ratings>(&rating).is_err(), "{rating}");
        }
    }

    #[test]
    fn a_score_decides_only_where_no_word_does() {
        let severity = |words: &[&str], score| {
            let mut ratings = Ratings::default();
            words.iter().for_each(|w| ratings.word(w));
            ratings.score(Score::from_f64(score).unwrap());
            ratings.severity()
        };
        assert_eq!(severity(&["LOW"], 9.8), Severity::Low);
        assert_eq!(severity(&["UNKNOWN"], 9.8), Severity::Critical);
        assert_eq!(severity(&[], 9.8), Severity::Critical);
        assert_eq!(severity(&[], 0.0), Severity::Negligible);
        assert_eq!(severity(&["crit"], 0.0), Severity::Unknown);
    }
}
