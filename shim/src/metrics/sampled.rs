//! What is read when metrics are asked for.

use std::fmt;
use std::sync::Arc;

use portcullis_client::TlsStats;
use portcullis_telemetry::{flood, sending};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::reports::Counts;

/// What is read when metrics are asked for.
pub(crate) trait Sampled: Send + Sync + 'static {
    /// As it is now.
    fn sample(&self) -> Sample;
}

/// What is read when metrics are asked for.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) replicas_ready: usize,
    pub(crate) retries: u64,
    pub(crate) near_hits: u64,
    pub(crate) near_misses: u64,
    pub(crate) near_bytes: usize,
    pub(crate) known_entries: usize,
    pub(crate) known_bytes: usize,
    pub(crate) is_open: bool,
    pub(crate) unlabelled: u64,
    pub(crate) reports: Counts,
    /// The certificate for the service and the files of it, where it is asked in TLS.
    pub(crate) tls: TlsStats,
}

/// The collector of these.
pub(super) struct Samples(pub(super) Arc<dyn Sampled>);

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Samples")
    }
}

impl Collector for Samples {
    fn encode(&self, mut e: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sample = self.0.sample();
        let gauge = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));

        let help = "Replicas of the decision service that are asked";
        let value = gauge(sample.replicas_ready);
        value.encode(e.encode_descriptor(
            "shim_replicas_ready",
            help,
            None,
            value.metric_type(),
        )?)?;

        let help = "Questions that were asked of a second replica";
        let value = ConstCounter::new(sample.retries);
        value.encode(e.encode_descriptor("shim_retries", help, None, value.metric_type())?)?;

        let help = "Questions that the near cache answered";
        let value = ConstCounter::new(sample.near_hits);
        value.encode(e.encode_descriptor("shim_near_hits", help, None, value.metric_type())?)?;

        let help = "Questions that the near cache did not answer";
        let value = ConstCounter::new(sample.near_misses);
        value.encode(e.encode_descriptor(
            "shim_near_misses",
            help,
            None,
            value.metric_type(),
        )?)?;

        let help = "What the near cache holds";
        let value = gauge(sample.near_bytes);
        value.encode(e.encode_descriptor(
            "shim_near",
            help,
            Some(&Unit::Bytes),
            value.metric_type(),
        )?)?;

        let help = "Answers that count while the service is away";
        let value = gauge(sample.known_entries);
        value.encode(e.encode_descriptor("shim_last_known", help, None, value.metric_type())?)?;

        let help = "What those answers hold";
        let value = gauge(sample.known_bytes);
        value.encode(e.encode_descriptor(
            "shim_last_known_size",
            help,
            Some(&Unit::Bytes),
            value.metric_type(),
        )?)?;

        let help = "Answers by a policy that reads labels of a namespace of which none are known";
        let value = ConstCounter::new(sample.unlabelled);
        value.encode(e.encode_descriptor("shim_unlabelled", help, None, value.metric_type())?)?;

        reports(&mut e, &sample.reports)?;
        tls(&mut e, sample.tls)?;
        unseen(&mut e)?;

        let help = "Whether the service is taken to be away: it is asked once a second";
        let value = gauge(usize::from(sample.is_open));
        value.encode(e.encode_descriptor("shim_service_away", help, None, value.metric_type())?)
    }
}

/// What became of reports of answers that were given without the service.
fn reports(e: &mut DescriptorEncoder<'_>, counts: &Counts) -> Result<(), fmt::Error> {
    let gauge = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));

    let help = "Answers that were given without the service and are reported to it";
    let value = ConstCounter::new(counts.made);
    value.encode(e.encode_descriptor("shim_reports", help, None, value.metric_type())?)?;

    let help = "Reports that the service has";
    let value = ConstCounter::new(counts.sent);
    value.encode(e.encode_descriptor("shim_reports_sent", help, None, value.metric_type())?)?;

    let help = "Reports for which there was no room, or that the service does not take";
    let value = ConstCounter::new(counts.dropped);
    value.encode(e.encode_descriptor(
        "shim_reports_dropped",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "Calls with reports that failed";
    let value = ConstCounter::new(counts.send_failures);
    value.encode(e.encode_descriptor(
        "shim_reports_send_failures",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "Times that reports could not be written to disk or read from it";
    let value = ConstCounter::new(counts.disk_failures);
    value.encode(e.encode_descriptor(
        "shim_reports_disk_failures",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help =
        "Files with reports of another cluster, account or version that are kept and not sent";
    let value = ConstCounter::new(counts.set_aside);
    value.encode(e.encode_descriptor(
        "shim_reports_set_aside",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "Reports that wait to be sent";
    let value = gauge(counts.waiting);
    value.encode(e.encode_descriptor(
        "shim_reports_waiting",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "What those reports hold";
    let value = gauge(counts.waiting_bytes);
    value.encode(e.encode_descriptor(
        "shim_reports_waiting_size",
        help,
        Some(&Unit::Bytes),
        value.metric_type(),
    )?)
}

/// How long the certificate for the service is good, and what became of its files.
fn tls(e: &mut DescriptorEncoder<'_>, tls: TlsStats) -> Result<(), fmt::Error> {
    let (begins, expires) = tls.certificate.unwrap_or_default();

    let help =
        "Unix time from which on the certificate for the service is valid, 0 while there is none";
    let value = ConstGauge::new(begins);
    value.encode(e.encode_descriptor(
        "shim_client_certificate_begin",
        help,
        Some(&Unit::Seconds),
        value.metric_type(),
    )?)?;

    let help = "Unix time at which the certificate for the service ends, 0 while there is none";
    let value = ConstGauge::new(expires);
    value.encode(e.encode_descriptor(
        "shim_client_certificate_expiry",
        help,
        Some(&Unit::Seconds),
        value.metric_type(),
    )?)?;

    let help = "Changes of that certificate's files and the service's authorities: taken, or kept where they cannot \
                be used";
    let mut changes =
        e.encode_descriptor("shim_client_certificate_changes", help, None, MetricType::Counter)?;
    for (result, count) in [("taken", tls.taken), ("kept", tls.kept)] {
        ConstCounter::new(count).encode(changes.encode_family(&[("result", result)])?)?;
    }
    Ok(())
}

/// Log lines and spans that nobody will see.
fn unseen(e: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let help = "Log lines that were not written, because there were too many like them";
    let value = ConstCounter::new(flood::left_out());
    value.encode(e.encode_descriptor(
        "shim_log_lines_left_out",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "Spans that did not get to the collector of traces";
    let value = ConstCounter::new(sending::lost());
    value.encode(e.encode_descriptor("shim_spans_lost", help, None, value.metric_type())?)
}
