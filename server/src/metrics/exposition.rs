//! OpenMetrics in, the text that a scraper asked for out.

use std::fmt::{self, Write as _};

use super::durations::Exemplar;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0, which has exemplars.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, for those who do not ask for the other.
    Text,
}

impl Exposition {
    /// What a scraper wants by its `Accept` header: OpenMetrics where that is named and plain text is
    /// not wanted more.
    #[must_use]
    pub fn wanted(accept: Option<&str>) -> Self {
        let (mut open, mut text) = (0.0, 0.0);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let wanted = match parts.next() {
                Some(media) if media.eq_ignore_ascii_case("application/openmetrics-text") => {
                    &mut open
                }
                Some(media) if media.eq_ignore_ascii_case("text/plain") => &mut text,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality: f64 = quality.map_or(1.0, |q| q.parse().unwrap_or(0.0));
            *wanted = quality.max(*wanted);
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The content type of the text.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// `text` with the exemplars of the buckets of one histogram, whose lines begin with `name`. The
/// library that writes the text has no way to be given exemplars that it did not collect itself.
pub(super) fn with_exemplars(
    text: &str,
    name: &str,
    exemplars: &[Option<Exemplar>],
) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(text.len() + 64 * exemplars.len());
    let mut exemplars = exemplars.iter();
    for line in text.lines() {
        out.push_str(line);
        if line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
            && let Some(Some(exemplar)) = exemplars.next()
        {
            let Exemplar { trace, value, at } = exemplar;
            let (seconds, millis) = (at.unix_timestamp(), at.millisecond());
            write!(out, " # {{trace_id=\"{trace}\"}} {value} {seconds}.{millis:03}")?;
        }
        out.push('\n');
    }
    Ok(out)
}

/// OpenMetrics without exemplars as text of the format 0.0.4: counters and infos are called there as
/// their samples are, and it knows neither units nor infos.
pub(super) fn plain(text: &str) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(helped, _)| *helped == name) {
                writeln!(out, "# HELP {name}{suffix} {help}")?;
            }
            writeln!(out, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(out, "{line}")?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: Option<&str>, expected: Exposition) {
        assert_eq!(Exposition::wanted(accept), expected, "{accept:?}");
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        check(None, Exposition::Text);
        check(Some("*/*"), Exposition::Text);
        check(Some("text/plain;version=0.0.4"), Exposition::Text);
        check(Some("application/openmetrics-text"), Exposition::OpenMetrics);
        check(Some("application/openmetrics-text;q=0"), Exposition::Text);
        check(Some("application/openmetrics-text;q=0.2,text/plain;q=0.5"), Exposition::Text);
        check(Some("application/openmetrics-text;q=x"), Exposition::Text);
        // Prometheus 2.42 and 3.
        check(
            Some(
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            Exposition::OpenMetrics,
        );
        check(
            Some(
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5, \
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4",
            ),
            Exposition::OpenMetrics,
        );
    }

    #[test]
    fn plain_text_names_what_its_samples_are_called() {
        let open = "# HELP p_x Things\n# TYPE p_x counter\np_x_total 1\n\
                    # HELP p_b The version\n# TYPE p_b info\np_b_info{v=\"1\"} 1\n\
                    # HELP p_t_seconds Time\n# TYPE p_t_seconds gauge\n# UNIT p_t_seconds seconds\n\
                    p_t_seconds 2\n";
        let expected = "# HELP p_x_total Things\n# TYPE p_x_total counter\np_x_total 1\n\
                        # HELP p_b_info The version\n# TYPE p_b_info gauge\np_b_info{v=\"1\"} 1\n\
                        # HELP p_t_seconds Time\n# TYPE p_t_seconds gauge\np_t_seconds 2\n";
        assert_eq!(plain(open).unwrap(), expected);
    }
}
