//! An event in, its log line out: with the trace that it is in, and how many like it were left out.

use std::fmt::{self, Write as _};

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::LogFormat;
use crate::flood::Flood;
use crate::spans;

/// Lines as `inner` writes them, with what that does not know.
pub(crate) struct Lines<F> {
    pub(crate) inner: F,
    pub(crate) format: LogFormat,
    pub(crate) flood: Flood,
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let trace = spans::trace_id().map(|trace| trace.to_string());
        let left_out = self.flood.take_left_out(&event.metadata().callsite());
        let left_out = (left_out > 0).then_some(left_out);
        if trace.is_none() && left_out.is_none() {
            return self.inner.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        writer.write_str(&with(&line, self.format, trace.as_deref(), left_out)?)
    }
}

/// A line with two more fields.
fn with(
    line: &str,
    format: LogFormat,
    trace: Option<&str>,
    left_out: Option<u64>,
) -> Result<String, fmt::Error> {
    let line = line.trim_end_matches('\n');
    // An object has a field already, the time at least.
    let (mut out, close) = match format {
        LogFormat::Json => (line.strip_suffix('}').unwrap_or(line).to_owned(), "}"),
        LogFormat::Text => (line.to_owned(), ""),
    };
    if let Some(trace) = trace {
        match format {
            LogFormat::Json => write!(out, ",\"trace_id\":\"{trace}\"")?,
            LogFormat::Text => write!(out, " trace_id={trace}")?,
        }
    }
    if let Some(left_out) = left_out {
        match format {
            LogFormat::Json => write!(out, ",\"left_out\":{left_out}")?,
            LogFormat::Text => write!(out, " left_out={left_out}")?,
        }
    }
    writeln!(out, "{close}")?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, format: LogFormat, expected: &str) {
        assert_eq!(with(line, format, Some("a1"), Some(3)).unwrap(), expected);
    }

    #[test]
    fn a_line_gains_its_trace_and_what_was_left_out() {
        check(
            "{\"level\":\"WARN\",\"message\":\"{}\"}\n",
            LogFormat::Json,
            "{\"level\":\"WARN\",\"message\":\"{}\",\"trace_id\":\"a1\",\"left_out\":3}\n",
        );
        check("WARN slow\n", LogFormat::Text, "WARN slow trace_id=a1 left_out=3\n");
        let one = with("WARN slow\n", LogFormat::Text, None, Some(1)).unwrap();
        assert_eq!(one, "WARN slow left_out=1\n");
    }
}
