//! The bytes of a request in, a question out, without a message in between: every admission passes here.

use std::sync::Arc;

use portcullis_core::decide::{Context, MAX_JUSTIFICATION};
use portcullis_core::image::{MAX_NODES, Nodes, Platform, Reference};
use portcullis_proto::v1;
use smallvec::SmallVec;
use tonic::Status;

use super::explanation::{MAX_EXPLAINED, too_many};
use super::{Detail, spare};
use crate::caller::Caller;
use crate::check::{MAX_CONTAINERS, Purpose, Question};
use crate::grpc::status;
use crate::grpc::wire::{Malformed, Reader};

/// The most bytes of a context: it goes into the event of each container. What a pod and its namespace
/// have for labels is far less; Kubernetes takes 1.5 MiB for all of an object, and most of that is no
/// context.
pub const MAX_CONTEXT: usize = 256 * 1024;

/// Reads a `CheckRequest`.
///
/// # Errors
/// INVALID_ARGUMENT when it is not one, there are no or too many containers, an image reference is
/// malformed, the context is longer than [`MAX_CONTEXT`] or the justification than
/// [`MAX_JUSTIFICATION`]; the details name the field.
pub(in crate::grpc) fn question(message: &[u8]) -> Result<(Question, Detail), Status> {
    let mut request = Request::new();
    request.read(Reader::new(message)).map_err(|error| status::malformed(&error))?;
    request.question()
}

/// A question in a stream, as far as it is one.
#[derive(Debug)]
pub(in crate::grpc) struct StreamRequest {
    /// The caller's number for it.
    pub(in crate::grpc) id: u64,
    /// The question, or what is wrong with it.
    pub(in crate::grpc) check: Result<(Question, Detail), Status>,
    /// For how long to wait, where that is said: seconds and nanoseconds.
    pub(in crate::grpc) timeout: Option<prost_types::Duration>,
}

/// Reads a `CheckStreamRequest`.
///
/// # Errors
/// INVALID_ARGUMENT when it is not one. What is wrong with the question in it is told in its answer.
pub(in crate::grpc) fn stream_request(message: &[u8]) -> Result<StreamRequest, Status> {
    let (mut id, mut timeout, mut check) = (0, None, None);
    let mut read = || -> Result<(), Malformed> {
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.next()? {
            match field {
                1 => id = value.number()?,
                2 => check.get_or_insert_with(Request::new).read(value.message()?)?,
                3 => span(timeout.get_or_insert_default(), value.message()?)?,
                _ => {}
            }
        }
        Ok(())
    };
    read().map_err(|error| status::malformed(&error))?;
    let check = check.map_or_else(
        || Err(status::invalid("check", "a question without `check`")),
        Request::question,
    );
    Ok(StreamRequest { id, check, timeout })
}

fn span(span: &mut prost_types::Duration, mut reader: Reader<'_>) -> Result<(), Malformed> {
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => span.seconds = value.number()?.cast_signed(),
            // The low half: an `int32` is sent with the sign of 64 bits.
            2 => {
                let [a, b, c, d, ..] = value.number()?.to_le_bytes();
                span.nanos = i32::from_le_bytes([a, b, c, d]);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A request as far as it was read.
#[derive(Debug)]
pub(super) struct Request<'a> {
    context: ContextRead<'a>,
    /// Names and images, at most [`MAX_CONTAINERS`].
    containers: SmallVec<[(&'a str, &'a str); 4]>,
    containers_total: usize,
    purpose: Purpose,
    explain: bool,
}

impl<'a> Request<'a> {
    fn new() -> Self {
        let (context, containers) = (ContextRead::new(), SmallVec::new());
        let (purpose, explain) = (Purpose::Admission, false);
        Self { context, containers, containers_total: 0, purpose, explain }
    }

    fn read(&mut self, mut reader: Reader<'a>) -> Result<(), Malformed> {
        while let Some((field, value)) = reader.next()? {
            match field {
                1 => self.context.read(value.texts()?)?,
                2 => {
                    let container = pair(value.texts()?)?;
                    self.containers_total += 1;
                    if self.containers.len() < MAX_CONTAINERS {
                        self.containers.push(container);
                    }
                }
                3 => self.purpose = purpose(value.number()?),
                10 => self.explain = value.number()? != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn question(self) -> Result<(Question, Detail), Status> {
        let total = self.containers_total;
        if total == 0 {
            return Err(status::invalid("containers", "there are no `containers` to decide about"));
        }
        if total > MAX_CONTAINERS {
            let message = format!(
                "there are {total} `containers`, more than the {MAX_CONTAINERS} allowed in one question"
            );
            return Err(status::invalid("containers", &message));
        }
        if self.explain && total > MAX_EXPLAINED {
            return Err(too_many(total));
        }
        let mut containers = Vec::with_capacity(total);
        for (index, (name, image)) in self.containers.into_iter().enumerate() {
            let image: Reference = image.parse().map_err(|error| {
                status::invalid(&format!("containers[{index}].image"), &format!("{error}"))
            })?;
            containers.push((Arc::from(name), image));
        }
        let (context, nodes) = self.context.finish()?;
        let detail = if self.explain { Detail::Explained } else { Detail::Plain };
        let (caller, purpose) = (Caller::default(), self.purpose);
        Ok((Question { context, nodes, containers, caller, purpose }, detail))
    }
}

/// What is not known is an admission: those are recorded.
fn purpose(value: u64) -> Purpose {
    match i32::try_from(value).ok().and_then(|value| v1::Purpose::try_from(value).ok()) {
        Some(v1::Purpose::Advice) => Purpose::Advice,
        Some(v1::Purpose::Admission | v1::Purpose::Unspecified) | None => Purpose::Admission,
    }
}

/// A context as far as it was read.
#[derive(Debug)]
pub(super) struct ContextRead<'a> {
    context: Arc<Context>,
    bytes: usize,
    break_glass: &'a str,
    /// At most one more than [`MAX_NODES`].
    platforms: Vec<&'a str>,
    platforms_total: usize,
}

impl<'a> ContextRead<'a> {
    pub(super) fn new() -> Self {
        let (context, platforms) = (spare::context(), Vec::new());
        Self { context, bytes: 0, break_glass: "", platforms, platforms_total: 0 }
    }

    /// Adds a `Context`. Of a field that is there twice the last is taken. Past [`MAX_CONTEXT`] nothing
    /// is read, and [`Self::finish`] says so.
    pub(super) fn read(&mut self, mut reader: Reader<'a>) -> Result<(), Malformed> {
        self.bytes += reader.left();
        if self.bytes > MAX_CONTEXT {
            return Ok(());
        }
        // Nobody else has it.
        let context = Arc::make_mut(&mut self.context);
        while let Some((field, value)) = reader.next()? {
            match field {
                1 => set(&mut context.cluster, value.text()?),
                2 => cloud(context, value.texts()?)?,
                3 => set(&mut context.namespace, value.text()?),
                4 => {
                    let (key, label) = pair(value.texts()?)?;
                    context.namespace_labels.insert(key.to_owned(), label.to_owned());
                }
                5 => workload(context, value.texts()?)?,
                6 => set(&mut context.pod, value.text()?),
                7 => {
                    let (key, label) = pair(value.texts()?)?;
                    context.pod_labels.insert(key.to_owned(), label.to_owned());
                }
                8 => set(&mut context.service_account, value.text()?),
                9 => self.break_glass = value.text()?,
                10 => {
                    let platform = value.text()?;
                    self.platforms_total += 1;
                    if self.platforms.len() <= MAX_NODES {
                        self.platforms.push(platform);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The context, and the platforms of the nodes.
    pub(super) fn finish(mut self) -> Result<(Arc<Context>, Nodes), Status> {
        if self.bytes > MAX_CONTEXT {
            let message = format!(
                "`context` is {} bytes long, more than the {MAX_CONTEXT} allowed: leave out labels that \
                 no rule reads",
                self.bytes
            );
            return Err(status::invalid("context", &message));
        }
        let nodes = nodes("context.platforms", self.platforms_total, &self.platforms)?;
        let length = self.break_glass.len();
        if length > MAX_JUSTIFICATION {
            let message = format!(
                "`context.break_glass` is {length} bytes long, more than the {MAX_JUSTIFICATION} allowed"
            );
            return Err(status::invalid("context.break_glass", &message));
        }
        if !self.break_glass.is_empty() {
            set(&mut Arc::make_mut(&mut self.context).break_glass, self.break_glass.trim());
        }
        Ok((self.context, nodes))
    }
}

fn set(field: &mut String, text: &str) {
    field.clear();
    field.push_str(text);
}

fn cloud(context: &mut Context, mut reader: Reader<'_>) -> Result<(), Malformed> {
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => set(&mut context.provider, value.text()?),
            2 => set(&mut context.account, value.text()?),
            3 => set(&mut context.region, value.text()?),
            _ => {}
        }
    }
    Ok(())
}

fn workload(context: &mut Context, mut reader: Reader<'_>) -> Result<(), Malformed> {
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => set(&mut context.workload_kind, value.text()?),
            2 => set(&mut context.workload, value.text()?),
            _ => {}
        }
    }
    Ok(())
}

/// A message of two texts: an entry of a map, or a container.
fn pair(mut reader: Reader<'_>) -> Result<(&str, &str), Malformed> {
    let mut pair = ("", "");
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => pair.0 = value.text()?,
            2 => pair.1 = value.text()?,
            _ => {}
        }
    }
    Ok(pair)
}

/// Reads the platforms that `field` names, of which there are `total`.
///
/// # Errors
/// INVALID_ARGUMENT when there are too many, or one is malformed.
pub(in crate::grpc) fn nodes<S: AsRef<str>>(
    field: &str,
    total: usize,
    platforms: &[S],
) -> Result<Nodes, Status> {
    if total > MAX_NODES {
        let message = format!("`{field}` has {total} platforms, more than the {MAX_NODES} allowed");
        return Err(status::invalid(field, &message));
    }
    let read = |(index, platform): (usize, &S)| {
        let platform = platform.as_ref().parse::<Platform>();
        platform.map_err(|error| status::invalid(&format!("{field}[{index}]"), &format!("{error}")))
    };
    Ok(Nodes::new(platforms.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?))
}
