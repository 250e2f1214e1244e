//! The bytes of reports in, the same as values out, with all bounds kept.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::decide::{Action, Context};
use portcullis_core::event::{Answered, AnsweredBy, MAX_CAUSE, MAX_IMAGE};
use portcullis_core::image::Digest;
use portcullis_proto::v1;
use time::OffsetDateTime;
use tonic::Status;

use super::request::ContextRead;
use crate::answered::{
    Batch, Container, MAX_BYTES, MAX_CONTAINERS, MAX_NAME, MAX_REASON, MAX_REPORTS, Report, Run,
};
use crate::caller::Caller;
use crate::grpc::status;
use crate::grpc::wire::{Malformed, Reader};

/// Reads a `ReportAnsweredRequest`.
///
/// # Errors
/// INVALID_ARGUMENT when it is not one, or something in it is out of its bounds; the details name the field.
pub(in crate::grpc) fn reports(message: &[u8]) -> Result<Batch, Status> {
    if message.len() > MAX_BYTES {
        let length = message.len();
        let text =
            format!("the reports are {length} bytes long, more than the {MAX_BYTES} allowed");
        return Err(status::invalid("answered", &text));
    }
    let mut read = Request::default();
    read.read(Reader::new(message)).map_err(|error| status::malformed(&error))?;
    read.batch()
}

#[derive(Default)]
struct Request<'a> {
    run: &'a [u8],
    dropped: u64,
    /// At most one more than [`MAX_REPORTS`].
    answered: Vec<Raw<'a>>,
    total: usize,
    containers: usize,
}

/// A report as far as it was read.
struct Raw<'a> {
    run: &'a [u8],
    number: u64,
    at: Instant,
    context: ContextRead<'a>,
    containers: Vec<RawContainer<'a>>,
    by: u64,
    cause: &'a str,
    evaluated_at: Option<Instant>,
    revision: &'a str,
    cut: bool,
}

#[derive(Default)]
struct RawContainer<'a> {
    name: &'a str,
    image: &'a str,
    digest: &'a str,
    action: u64,
    rule: &'a str,
    reason: &'a str,
}

/// Seconds and nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Instant(u64, u64);

impl<'a> Request<'a> {
    fn read(&mut self, mut reader: Reader<'a>) -> Result<(), Malformed> {
        while let Some((field, value)) = reader.next()? {
            match field {
                1 => self.run = value.bytes()?,
                2 => self.dropped = value.number()?,
                3 => {
                    self.total += 1;
                    if self.total <= MAX_REPORTS {
                        let room = MAX_CONTAINERS.saturating_sub(self.containers);
                        let (raw, containers) = raw(value.message()?, room)?;
                        self.containers = self.containers.saturating_add(containers);
                        self.answered.push(raw);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn batch(self) -> Result<Batch, Status> {
        let Self { run: own, dropped, answered, total, containers } = self;
        if total > MAX_REPORTS || containers > MAX_CONTAINERS {
            let text = format!(
                "there are {total} reports of {containers} containers, more than the {MAX_REPORTS} of \
                 {MAX_CONTAINERS} allowed in one call"
            );
            return Err(status::invalid("answered", &text));
        }
        let own = run("run", own)?;
        let mut reports = Vec::with_capacity(answered.len());
        let mut before: Option<(Run, u64)> = None;
        for (at, raw) in answered.into_iter().enumerate() {
            let report = raw.report(&format!("answered[{at}]"))?;
            let number = report.answered.number;
            if before.is_some_and(|(run, last)| run == report.run && number <= last) {
                let text = "reports of one run are sent in the order of their numbers";
                return Err(status::invalid(&format!("answered[{at}].number"), text));
            }
            before = Some((report.run, number));
            reports.push(report);
        }
        Ok(Batch { caller: Caller::default(), run: own, dropped, reports })
    }
}

fn raw<'a>(mut reader: Reader<'a>, room: usize) -> Result<(Raw<'a>, usize), Malformed> {
    let mut raw = Raw {
        run: &[],
        number: 0,
        at: Instant::default(),
        context: ContextRead::new(),
        containers: Vec::new(),
        by: 0,
        cause: "",
        evaluated_at: None,
        revision: "",
        cut: false,
    };
    let mut containers = 0;
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => raw.run = value.bytes()?,
            2 => raw.number = value.number()?,
            3 => raw.at = instant(value.message()?)?,
            4 => raw.context.read(value.texts()?)?,
            5 => {
                containers += 1;
                if containers <= room {
                    raw.containers.push(container(value.message()?)?);
                }
            }
            6 => raw.by = value.number()?,
            7 => raw.cause = value.text()?,
            8 => raw.evaluated_at = Some(instant(value.message()?)?),
            9 => raw.revision = value.text()?,
            10 => raw.cut = value.number()? != 0,
            _ => {}
        }
    }
    Ok((raw, containers))
}

fn container(mut reader: Reader<'_>) -> Result<RawContainer<'_>, Malformed> {
    let mut raw = RawContainer::default();
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => raw.name = value.text()?,
            2 => raw.image = value.text()?,
            3 => raw.digest = value.text()?,
            4 => raw.action = value.number()?,
            5 => raw.rule = value.text()?,
            6 => raw.reason = value.text()?,
            _ => {}
        }
    }
    Ok(raw)
}

fn instant(mut reader: Reader<'_>) -> Result<Instant, Malformed> {
    let mut instant = Instant::default();
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => instant.0 = value.number()?,
            2 => instant.1 = value.number()?,
            _ => {}
        }
    }
    Ok(instant)
}

impl Raw<'_> {
    /// The report that stands at `field`.
    fn report(self, field: &str) -> Result<Report, Status> {
        let name = |name: &str| format!("{field}.{name}");
        if self.number == 0 {
            return Err(status::invalid(&name("number"), "numbers of reports begin with 1"));
        }
        if self.containers.is_empty() {
            return Err(status::invalid(&name("containers"), "there are no `containers`"));
        }
        let by = by(self.by).ok_or_else(|| {
            status::invalid(&name("answered_by"), "`answered_by` is none of the words for it")
        })?;
        let run = run(&name("run"), self.run)?;
        let answered = Answered {
            by,
            cause: bounded(&name("cause"), self.cause, MAX_CAUSE)?,
            at: self.at.read(&name("answered_at"))?,
            evaluated_at: self.evaluated_at.map(|at| at.read(&name("evaluated_at"))).transpose()?,
            run: run.iter().map(|byte| format!("{byte:02x}")).collect(),
            number: self.number,
        };
        let (context, _nodes): (Arc<Context>, _) = self.context.finish()?;
        let containers = self.containers.into_iter().enumerate();
        let containers =
            containers.map(|(at, raw)| raw.container(&name(&format!("containers[{at}]"))));
        Ok(Report {
            run,
            answered,
            context,
            containers: containers.collect::<Result<_, _>>()?,
            policy_revision: bounded(&name("policy_revision"), self.revision, MAX_NAME)?,
            cut: self.cut,
        })
    }
}

impl RawContainer<'_> {
    fn container(self, field: &str) -> Result<Container, Status> {
        let name = |name: &str| format!("{field}.{name}");
        let Self { name: own, image, digest, action, rule, reason } = self;
        let action = match i32::try_from(action).ok().and_then(|a| v1::Action::try_from(a).ok()) {
            Some(v1::Action::Allow) => Action::Allow,
            Some(v1::Action::Audit) => Action::Audit,
            Some(v1::Action::Deny) => Action::Deny,
            Some(v1::Action::Unspecified) | None => {
                let text = "`action` is none of allow, audit and deny";
                return Err(status::invalid(&name("action"), text));
            }
        };
        let digest = match digest {
            "" => None,
            text => Some(
                text.parse::<Digest>()
                    .map_err(|error| status::invalid(&name("digest"), &format!("{error}")))?,
            ),
        };
        Ok(Container {
            name: bounded(&name("name"), own, MAX_NAME)?,
            image: bounded(&name("image"), image, MAX_IMAGE)?,
            digest,
            action,
            rule: bounded(&name("rule"), rule, MAX_NAME)?,
            reason: bounded(&name("reason"), reason, MAX_REASON)?,
        })
    }
}

impl Instant {
    fn read(self, field: &str) -> Result<OffsetDateTime, Status> {
        let nanos = Duration::from_nanos(self.1);
        OffsetDateTime::from_unix_timestamp(self.0.cast_signed())
            .ok()
            .filter(|_| nanos < Duration::from_secs(1))
            .and_then(|at| at.checked_add(nanos.try_into().ok()?))
            .ok_or_else(|| status::invalid(field, "the time is not one of the years 1 to 9999"))
    }
}

fn by(value: u64) -> Option<AnsweredBy> {
    match v1::AnsweredBy::try_from(i32::try_from(value).ok()?).ok()? {
        v1::AnsweredBy::NearCache => Some(AnsweredBy::NearCache),
        v1::AnsweredBy::LastKnown => Some(AnsweredBy::LastKnown),
        v1::AnsweredBy::FailPolicy => Some(AnsweredBy::FailPolicy),
        v1::AnsweredBy::Unspecified => None,
    }
}

fn run(field: &str, bytes: &[u8]) -> Result<Run, Status> {
    bytes.try_into().map_err(|_| {
        let text = format!("a run is named by 16 bytes, and there are {}", bytes.len());
        status::invalid(field, &text)
    })
}

fn bounded(field: &str, text: &str, limit: usize) -> Result<String, Status> {
    if text.len() <= limit {
        return Ok(text.to_owned());
    }
    let message = format!("it is {} bytes long, more than the {limit} allowed", text.len());
    Err(status::invalid(field, &message))
}

#[cfg(test)]
mod tests;
