//! What `/proc` says of this process in, the metrics that every program has out.
//!
//! They are read when they are asked for. Where there is no `/proc` they are left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// The unit of times in `/proc`: `USER_HZ`, which is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Open files that are counted at the most.
const MAX_FILES: usize = 1 << 20;

#[derive(Debug)]
struct Process;

pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(Usage { cpu, resident, virtual_, threads, files, max_files, started }) =
            Usage::read()
        else {
            return Ok(());
        };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let cpu = ConstCounter::new(cpu);
        let help = "Processor time used, in user and system mode";
        cpu.encode(encoder.encode_descriptor("process_cpu", help, seconds, cpu.metric_type())?)?;
        let mut gauge = |name, help, unit, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        gauge("process_resident_memory", "Memory in use", bytes, resident)?;
        gauge("process_virtual_memory", "Address space in use", bytes, virtual_)?;
        gauge("process_threads", "Threads", None, threads)?;
        gauge("process_open_fds", "Open file handles", None, files)?;
        gauge("process_max_fds", "File handles that may be open", None, max_files)?;
        gauge("process_start_time", "Unix time at which the process began", seconds, started)
    }
}

#[derive(Debug, PartialEq)]
struct Usage {
    cpu: f64,
    resident: f64,
    virtual_: f64,
    threads: f64,
    files: f64,
    max_files: f64,
    started: f64,
}

impl Usage {
    fn read() -> Option<Self> {
        let read = |file| fs::read_to_string(file).ok();
        #[expect(clippy::cast_precision_loss, reason = "at most a million")]
        let files = fs::read_dir("/proc/self/fd").ok()?.take(MAX_FILES).count() as f64;
        Self::parse(
            &read("/proc/self/stat")?,
            &read("/proc/self/status")?,
            &read("/proc/self/limits")?,
            &read("/proc/stat")?,
            files,
        )
    }

    fn parse(stat: &str, status: &str, limits: &str, system: &str, files: f64) -> Option<Self> {
        // The second field is the program's name in brackets, which may hold blanks and brackets.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // Counted as proc(5) does, where the state after the name is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_ascii_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
        };
        let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?;
        let max = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let max = max.split_ascii_whitespace().next()?;
        Some(Self {
            cpu: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            resident: kilobytes("VmRSS:")?,
            virtual_: kilobytes("VmSize:")?,
            threads: field(20)?,
            files,
            max_files: if max == "unlimited" { f64::INFINITY } else { max.parse().ok()? },
            started: booted.trim().parse::<f64>().ok()? + field(22)? / TICKS_PER_SECOND,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a ) b) S 1 7 7 0 -1 4194560 5 0 0 0 250 50 0 0 20 0 4 0 1200 9 9 0";
    const STATUS: &str = "Name:\tb\nVmSize:\t    2048 kB\nVmRSS:\t     1024 kB\n";
    const LIMITS: &str =
        "Limit   Soft Limit  Hard Limit  Units\nMax open files   1024   4096 files\n";

    #[test]
    fn a_program_name_with_brackets_and_blanks_moves_no_field() {
        let usage = Usage::parse(STAT, STATUS, LIMITS, "cpu 1\nbtime 1000\n", 3.0).unwrap();
        let expected = Usage {
            cpu: 3.0,
            resident: 1_048_576.0,
            virtual_: 2_097_152.0,
            threads: 4.0,
            files: 3.0,
            max_files: 1024.0,
            started: 1012.0,
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        assert_eq!(Usage::parse("7 (a", STATUS, LIMITS, "btime 1\n", 3.0), None);
        assert_eq!(Usage::parse("7 (a) S 1", STATUS, LIMITS, "btime 1\n", 3.0), None);
        assert_eq!(Usage::parse(STAT, "", LIMITS, "btime 1\n", 3.0), None);
        assert_eq!(Usage::parse(STAT, STATUS, LIMITS, "", 3.0), None);
    }
}
