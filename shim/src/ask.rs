//! A question in, what is known of its images out: by the service, or by what it said before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use portcullis_client::{Client, ClientError, Standing};
use portcullis_proto::v1;
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::config::{FailPolicies, Place};
use crate::known::LastKnown;
use crate::metrics::{Sample, Sampled};
use crate::reports::{Given, Reports};
use crate::review::{
    Action, Cause, Decision, FailPolicy, Known, Outcome, Question, ReviewError, Source,
};

/// A time that is shorter than this says nothing about a service that did not answer in it.
const TELLING: Duration = Duration::from_millis(500);

/// The most that a line of the log says of images, in bytes.
const MAX_LOGGED: usize = 1024;

/// What time it is.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An object is made by it or is not.
    Admission,
    /// Nothing comes of it: a dry run; or the object is asked about once more when it is validated.
    Advice,
}

/// Asks the decision service.
pub(crate) struct Asker {
    pub(crate) client: Client,
    pub(crate) known: LastKnown,
    pub(crate) reports: Arc<Reports>,
    pub(crate) breaker: Breaker,
    pub(crate) fail: FailPolicies,
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    /// How often the policy read labels of a namespace of which none are known here.
    pub(crate) unlabelled: AtomicU64,
}

/// What was found out, and where that is from.
pub(crate) struct Found {
    said: Said,
    fail_policy: FailPolicy,
    /// Why the service did not say it, if it did not.
    pub(crate) cause: Option<&'static str>,
    /// In one word, where it is from.
    pub(crate) source: &'static str,
}

/// What is known of the images of a question.
enum Said {
    /// This was answered, now or before.
    Answer(Arc<v1::CheckResponse>, Source),
    /// Nothing of so many.
    Nothing(usize, Cause),
}

impl Found {
    /// What is known of each image.
    pub(crate) fn outcome(&self) -> Outcome<'_> {
        let fail_policy = self.fail_policy;
        match &self.said {
            Said::Answer(response, source) => Outcome {
                images: response.decisions.iter().map(|d| known(d, *source)).collect(),
                fail_policy,
                policy_revision: response.policy_revision.as_str().into(),
            },
            Said::Nothing(count, cause) => Outcome {
                images: vec![Known::Unknown(cause.clone()); *count],
                fail_policy,
                policy_revision: "".into(),
            },
        }
    }
}

impl Asker {
    /// Finds out, until `deadline`, whether the images may run.
    pub(crate) async fn ask(
        &self,
        question: &Question,
        purpose: Purpose,
        deadline: Instant,
    ) -> Found {
        let fail_policy = self.fail.of(&question.context.namespace);
        if question.images.is_empty() {
            let said = Said::Nothing(0, Cause::Failed);
            return Found { said, fail_policy, cause: None, source: "nothing" };
        }
        let request = self.request(question, purpose);
        match self.answer(&request, deadline).await {
            Ok((response, source)) => {
                if source == Source::NearCache {
                    self.tell(request, &Given::Near(&response));
                }
                let said = Said::Answer(response, source);
                Found { said, fail_policy, cause: None, source: source.word() }
            }
            Err(cause) => self.otherwise(question, request, fail_policy, cause),
        }
    }

    /// The service's answer, or the near cache's, and what is to be said of a failure.
    async fn answer(
        &self,
        request: &v1::CheckRequest,
        deadline: Instant,
    ) -> Result<(Arc<v1::CheckResponse>, Source), Cause> {
        // What is kept needs no probe.
        if self.breaker.is_open() {
            if let Some(kept) = self.client.kept(request) {
                return whole(request, kept, Source::NearCache);
            }
            if !self.breaker.lets_through(Instant::now()) {
                return Err(Cause::Unreachable);
            }
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.client.ask(request, deadline).await {
            Ok(answer) if answer.near => whole(request, answer.response, Source::NearCache),
            Ok(answer) => {
                self.breaker.answered();
                let whole = whole(request, answer.response, Source::Service)?;
                self.look_for_labels(request, &whole.0);
                self.known.keep(request, &whole.0, (self.clock)());
                Ok(whole)
            }
            Err(error) => {
                let cause = cause(&error);
                match cause {
                    Cause::Unreachable => self.breaker.failed(Instant::now()),
                    // Whoever asks may say how long it waits, and must not take the service from others.
                    Cause::Deadline if patience >= TELLING => self.breaker.failed(Instant::now()),
                    Cause::Deadline => {}
                    // It is there.
                    Cause::Overloaded | Cause::Refused(_) | Cause::Forbidden | Cause::Failed => {
                        self.breaker.answered()
                    }
                }
                let error = crate::chain(&error);
                if cause == Cause::Forbidden {
                    // It stays so until somebody changes a certificate or a configuration.
                    tracing::error!(error, "the decision service does not let this shim ask");
                } else {
                    tracing::warn!(error, "the decision service has no answer");
                }
                Err(cause)
            }
        }
    }

    /// Tells, once, of a policy that reads labels of a namespace of which none are known here: for its rules
    /// they are not there.
    fn look_for_labels(&self, request: &v1::CheckRequest, response: &v1::CheckResponse) {
        let context = request.context.as_ref();
        let are_read = response.vary.iter().any(|field| field == "namespace_labels");
        if !are_read || context.is_none_or(|context| !context.namespace_labels.is_empty()) {
            return;
        }
        if self.unlabelled.fetch_add(1, Ordering::Relaxed) == 0 {
            let namespace = context.map(|context| context.namespace.as_str());
            tracing::warn!(
                namespace,
                "the policy reads labels of namespaces, and none of this one are known here: write them under \
                 `reviews.namespaceLabels`"
            );
        }
    }

    /// What holds where the service did not say anything.
    fn otherwise(
        &self,
        question: &Question,
        request: v1::CheckRequest,
        fail_policy: FailPolicy,
        cause: Cause,
    ) -> Found {
        let word = cause.word();
        // What it was asked is malformed, now as before.
        let is_refused = matches!(cause, Cause::Refused(_));
        let known = if is_refused { None } else { self.known.find(&request, (self.clock)()) };
        let (namespace, pod) = (&question.context.namespace, &question.context.pod);
        let images = images(question);
        if let Some((response, age)) = known {
            let age = age.as_secs();
            let said = "answered by what was last known";
            tracing::warn!(namespace, pod, images, age, cause = word, "{said}");
            self.tell(request, &Given::LastKnown(&response, word));
            let said = Said::Answer(response, Source::LastKnown);
            return Found { said, fail_policy, cause: Some(word), source: "last_known" };
        }
        let allows = fail_policy == FailPolicy::Allow && !is_refused;
        tracing::warn!(namespace, pod, images, allows, cause = word, "answered by the fail policy");
        self.tell(request, &Given::FailPolicy(allows, word));
        let said = Said::Nothing(question.images.len(), cause);
        Found { said, fail_policy, cause: Some(word), source: "fail_policy" }
    }

    /// Has the service told, later, what was answered without it. Of advice there is nothing to tell.
    fn tell(&self, request: v1::CheckRequest, given: &Given<'_>) {
        if request.purpose() != v1::Purpose::Advice {
            self.reports.take(request, given, (self.clock)());
        }
    }

    /// Has the service told of a review that could not be read, and whether it was allowed all the same. Nobody knows
    /// which images are in it: an empty one stands for them.
    pub(crate) fn tell_unread(&self, error: &ReviewError, allows: bool) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (kind, name) = (text(&error.seen.kind), text(&error.seen.name));
        let pod = if kind == "Pod" { name.clone() } else { String::new() };
        let request = v1::CheckRequest {
            context: Some(v1::Context {
                namespace: text(&error.seen.namespace),
                workload: Some(v1::Workload { kind, name }),
                pod,
                ..self.here()
            }),
            containers: vec![v1::Container::default()],
            purpose: v1::Purpose::Admission.into(),
            explain: false,
        };
        self.tell(request, &Given::Unread(allows, error.fault.word(), &error.to_string()));
    }

    /// What is the same in each question.
    fn here(&self) -> v1::Context {
        let Place { cluster, provider, account, region, platforms } = self.place.clone();
        let cloud = Some(v1::Cloud { provider, account, region });
        v1::Context { cluster, cloud, platforms, ..v1::Context::default() }
    }

    fn request(&self, question: &Question, purpose: Purpose) -> v1::CheckRequest {
        let context = &question.context;
        let labels = |labels: &std::collections::BTreeMap<String, String>| {
            labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let workload = v1::Workload {
            kind: context.workload.kind.clone(),
            name: context.workload.name.clone(),
        };
        let containers = question.images.iter().map(|image| v1::Container {
            name: image.container.clone(),
            image: image.image.clone(),
        });
        v1::CheckRequest {
            context: Some(v1::Context {
                namespace: context.namespace.clone(),
                namespace_labels: labels(&context.namespace_labels),
                workload: Some(workload),
                pod: context.pod.clone(),
                pod_labels: labels(&context.pod_labels),
                service_account: context.service_account.clone(),
                break_glass: context.break_glass.clone(),
                ..self.here()
            }),
            containers: containers.collect(),
            purpose: match purpose {
                Purpose::Admission => v1::Purpose::Admission.into(),
                Purpose::Advice => v1::Purpose::Advice.into(),
            },
            explain: false,
        }
    }

    /// Whether a replica of the service is there to be asked.
    pub(crate) fn is_reached(&self) -> bool {
        self.client.stats().replicas.iter().any(|replica| replica.standing != Standing::Down)
    }
}

impl Sampled for Asker {
    fn sample(&self) -> Sample {
        let stats = self.client.stats();
        let near = stats.near.unwrap_or_default();
        let (known_entries, known_bytes) = self.known.size();
        let ready = stats.replicas.iter().filter(|replica| replica.standing == Standing::Ready);
        Sample {
            replicas_ready: ready.count(),
            retries: stats.retries,
            near_hits: near.hits,
            near_misses: near.misses,
            near_bytes: near.bytes,
            known_entries,
            known_bytes,
            is_open: self.breaker.is_open(),
            unlabelled: self.unlabelled.load(Ordering::Relaxed),
            reports: self.reports.counts(),
            tls: stats.tls.unwrap_or_default(),
        }
    }
}

/// An answer that has a decision in words that we know for each image.
fn whole(
    request: &v1::CheckRequest,
    response: Arc<v1::CheckResponse>,
    source: Source,
) -> Result<(Arc<v1::CheckResponse>, Source), Cause> {
    let is_known = |decision: &v1::Decision| decision.action() != v1::Action::Unspecified;
    let is_whole = response.decisions.len() == request.containers.len();
    // Nothing is admitted by advice.
    let is_meant = !response.advice || request.purpose() == v1::Purpose::Advice;
    if !is_meant {
        tracing::error!(source = source.word(), "an answer to an admission is advice");
        return Err(Cause::Failed);
    }
    if is_whole && response.decisions.iter().all(is_known) {
        return Ok((response, source));
    }
    tracing::error!(source = source.word(), "an answer has not one decision for each image");
    Err(Cause::Failed)
}

/// The images of a question for the log, in one line that is not too long.
fn images(question: &Question) -> String {
    let images: Vec<_> = question.images.iter().map(|image| image.image.as_str()).collect();
    let text = images.join(" ").replace(char::is_control, "?");
    text.get(..text.floor_char_boundary(MAX_LOGGED)).unwrap_or_default().to_owned()
}

fn known(decision: &v1::Decision, source: Source) -> Known<'_> {
    let action = match decision.action() {
        v1::Action::Allow => Action::Allow,
        v1::Action::Audit => Action::Audit,
        v1::Action::Deny => Action::Deny,
        // A word that we do not know is no allow.
        v1::Action::Unspecified => return Known::Unknown(Cause::Failed),
    };
    Known::Decided(Decision {
        action,
        image: decision.image.as_str().into(),
        digest: decision.digest.as_str().into(),
        rule: decision.rule.as_str().into(),
        message: decision.message.as_str().into(),
        notices: decision.notices.as_slice().into(),
        source,
    })
}

/// What a failure of the client means.
fn cause(error: &ClientError) -> Cause {
    match error.kind() {
        portcullis_client::ErrorKind::Unreachable => Cause::Unreachable,
        portcullis_client::ErrorKind::Late => Cause::Deadline,
        portcullis_client::ErrorKind::Overloaded => Cause::Overloaded,
        portcullis_client::ErrorKind::Refused(message) => Cause::Refused(message),
        portcullis_client::ErrorKind::Forbidden => Cause::Forbidden,
        portcullis_client::ErrorKind::Failed => Cause::Failed,
    }
}
