//! What is said of reports that have no room.

use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn that_reports_are_dropped_is_logged_ever_more_seldom() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    // While there is only one subscriber, whether it wants a line is asked of whichever thread comes first,
    // which may be another test's that has none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let reports = Reports::new(0).unwrap();
    let request = v1::CheckRequest {
        containers: vec![v1::Container::default()],
        ..v1::CheckRequest::default()
    };
    for _ in 0..9 {
        reports.take(request.clone(), &Given::FailPolicy(true, "unreachable"), UNIX_EPOCH);
    }
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("no room to report")).collect();
    assert_eq!(lines.len(), 4, "{text}");
    for (line, dropped) in lines.iter().zip([1, 2, 4, 8]) {
        assert!(line.contains("WARN") && line.ends_with(&format!("dropped={dropped}")), "{line}");
    }
}
