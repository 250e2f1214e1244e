//! Parts of a run in, a line on a terminal that moves, or plain lines in a pipe, out.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::measure::Interval;

/// Every so many parts a line is written in a pipe.
const EACH: u64 = 8;

/// Who is told how it goes.
pub(crate) trait Progress: Send {
    /// Something begins.
    fn begin(&mut self, what: &str);
    /// A part of it is over.
    fn part(&mut self, part: &Interval);
    /// It is over, and this came of it.
    fn end(&mut self, result: &str);
}

/// Tells on standard error: what is on standard output is for programs.
pub(crate) enum Telling {
    /// A terminal.
    Moving(ProgressBar, String),
    /// Anything else.
    Lines(String, u64),
    /// Nobody.
    Quiet,
}

impl Telling {
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !io::stderr().is_terminal() {
            return Self::Lines(String::new(), 0);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        // The template is ours, and is one.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:>6.dim}") {
            bar.set_style(style);
        }
        Self::Moving(bar, String::new())
    }
}

impl Progress for Telling {
    fn begin(&mut self, what: &str) {
        match self {
            Self::Moving(bar, name) => {
                what.clone_into(name);
                bar.reset_elapsed();
                bar.set_message(what.to_owned());
            }
            Self::Lines(name, parts) => {
                what.clone_into(name);
                *parts = 0;
                line(what);
            }
            Self::Quiet => {}
        }
    }

    fn part(&mut self, part: &Interval) {
        let figures = |name: &str| {
            let Interval { answered, failed, length_s, p50_us, p99_us, .. } = part;
            let rate = per_second(*answered, *length_s);
            let failures = if *failed > 0 { format!("  {failed} failed") } else { String::new() };
            format!(
                "{name:<24} {rate:>9.0}/s  p50 {p50_us:>8.0} µs  p99 {p99_us:>9.0} µs{failures}"
            )
        };
        match self {
            Self::Moving(bar, name) => {
                bar.set_message(figures(name));
                bar.tick();
            }
            Self::Lines(name, parts) => {
                *parts += 1;
                if *parts % EACH == 0 {
                    line(&figures(name));
                }
            }
            Self::Quiet => {}
        }
    }

    fn end(&mut self, result: &str) {
        match self {
            Self::Moving(bar, _) => bar.println(result),
            Self::Lines(..) => line(result),
            Self::Quiet => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Nobody reads it where standard error is closed, and that is no reason to stop.
fn line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
