//! An opened envelope and a statement of the trust policy in, what holds of it now out.

use time::{Duration, OffsetDateTime};

use super::certificate::Certificate;
use super::envelope::{Envelope, Scheme};
use super::error::{Demanded, SignatureError, written};
use super::examination::{CheckName, Record, TimestampFacts, Verdict, explained};
use super::question::{self, Revocations};
use super::statement::{Action, Demands, Statement, Tokens};
use super::store::StoreKind;
use super::timestamp::{self, TimestampError};

/// What is left to say of an envelope that is trusted.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// Checks that failed and that the statement only wants to be told of.
    pub(super) notices: Vec<String>,
    /// The first instant at which an enforced check could come out otherwise.
    pub(super) valid_until: Option<OffsetDateTime>,
}

/// Makes the checks that depend on trust and on time.
///
/// # Errors
/// The first enforced check that fails; [`SignatureError::RevocationPending`] only where no other
/// does.
pub(super) fn judge(
    envelope: &Envelope,
    (statement, demands): (&Statement, &Demands),
    revocations: &dyn Revocations,
    now: OffsetDateTime,
    record: &mut Record,
) -> Result<Judgement, SignatureError> {
    check_authenticity(envelope, statement, demands, record)?;
    let mut judge = Judge { judgement: Judgement::default(), pending: Vec::new(), record };
    judge.settle(CheckName::Expiry, demands.expiry, || check_expiry(envelope, now))?;
    let mut facts = None;
    let timed = judge.settle(CheckName::AuthenticTimestamp, demands.timestamp, || {
        check_time(envelope, demands, revocations, now, &mut facts)
    });
    judge.record.timestamp = facts;
    timed?;
    judge.settle(CheckName::Revocation, demands.revocation, || {
        let signed_at = match envelope.scheme() {
            Scheme::X509 => None,
            Scheme::SigningAuthority => Some(envelope.signing_time()),
        };
        let chain = envelope.chain().certificates();
        question::check(chain, revocations, signed_at, "revocation")?;
        Ok(Holds::default())
    })?;
    if judge.pending.is_empty() {
        Ok(judge.judgement)
    } else {
        Err(SignatureError::RevocationPending { questions: judge.pending })
    }
}

/// What there is to say of a check that passes.
#[derive(Debug, Default)]
struct Holds {
    detail: Option<String>,
    /// The first instant at which it could come out otherwise.
    until: Option<OffsetDateTime>,
}

struct Judge<'a> {
    judgement: Judgement,
    pending: Vec<question::RevocationQuestion>,
    record: &'a mut Record,
}

impl Judge<'_> {
    /// Makes one check, and does with a failure as the statement says.
    fn settle(
        &mut self,
        name: CheckName,
        action: Action,
        check: impl FnOnce() -> Result<Holds, SignatureError>,
    ) -> Result<(), SignatureError> {
        if action == Action::Skip {
            self.record.put(name, Verdict::Skipped, Some("the trust policy says so"));
            return Ok(());
        }
        match (check(), action) {
            (Ok(Holds { detail, until }), action) => {
                self.record.put(name, Verdict::Passed, detail.as_deref());
                if action == Action::Enforce {
                    let known = self.judgement.valid_until;
                    self.judgement.valid_until = known.into_iter().chain(until).min();
                }
            }
            (Err(SignatureError::RevocationPending { questions }), _) => {
                self.record.put(name, Verdict::Pending, None);
                self.pending.extend(questions);
            }
            (Err(error), Action::Enforce) => return self.record.step(name, Err(error)),
            (Err(error), Action::Log | Action::Skip) => {
                let why = explained(&error);
                self.record.put(name, Verdict::Logged, Some(&why));
                self.judgement.notices.push(why);
            }
        }
        Ok(())
    }
}

/// Enforced whatever the statement says: a report that anybody may have signed says nothing.
fn check_authenticity(
    envelope: &Envelope,
    statement: &Statement,
    demands: &Demands,
    record: &mut Record,
) -> Result<(), SignatureError> {
    let policy = || statement.name.clone();
    let demanded = match demands.authenticity {
        Action::Enforce => Demanded::Enforce,
        Action::Log | Action::Skip => Demanded::Log,
    };
    let anchors = demands.anchors(envelope.scheme());
    let mut trusted = None;
    for (certificate, facts) in envelope.chain().certificates().zip(&mut record.certificates) {
        facts.store = anchors.get(certificate.der()).cloned();
        trusted = trusted.or_else(|| facts.store.clone());
    }
    let Some(store) = trusted else {
        let store = match envelope.scheme() {
            Scheme::X509 => StoreKind::Ca,
            Scheme::SigningAuthority => StoreKind::SigningAuthority,
        };
        let store = store.as_str();
        let error = SignatureError::UntrustedChain { policy: policy(), store, demanded };
        return record.step(CheckName::Authenticity, Err(error));
    };
    record.put(CheckName::Authenticity, Verdict::Passed, Some(&store));
    let subject = || envelope.subject().to_owned();
    let trusted = match demands.trusts_subject(envelope.subject()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SignatureError::UntrustedIdentity {
            subject: subject(),
            policy: policy(),
            demanded,
        }),
        Err(source) => {
            Err(SignatureError::Identity { subject: subject(), policy: policy(), source })
        }
    };
    record.step(CheckName::Identity, trusted)
}

fn check_expiry(envelope: &Envelope, now: OffsetDateTime) -> Result<Holds, SignatureError> {
    match envelope.expiry() {
        Some(at) if at <= now => Err(SignatureError::Expired { at }),
        until => Ok(Holds { detail: None, until }),
    }
}

/// That every certificate was valid when it was used, as far as somebody trusted says when.
fn check_time(
    envelope: &Envelope,
    demands: &Demands,
    revocations: &dyn Revocations,
    now: OffsetDateTime,
    facts: &mut Option<TimestampFacts>,
) -> Result<Holds, SignatureError> {
    if envelope.scheme() == Scheme::SigningAuthority {
        return check_valid(envelope, envelope.signing_time()).map(|()| Holds::default());
    }
    let chain = || envelope.chain().certificates();
    let demanded = match demands.tokens {
        Tokens::Never => false,
        Tokens::Always => true,
        Tokens::AfterCertificateExpiry => chain().any(|c| c.is_expired_at(now)),
    };
    if !demanded {
        check_valid(envelope, now)?;
        let until = chain().map(|c| c.not_after() + Duration::SECOND).min();
        return Ok(Holds { detail: None, until });
    }
    let token = envelope.timestamp().ok_or(TimestampError::Absent)?;
    let stamped = timestamp::verify(token, envelope.signature(), demands.timestampers(), facts)?;
    stamped.check_covers(envelope.chain())?;
    let authority = stamped.chain();
    // Whatever the statement says of revocation, which is about the signing chain, as in the
    // reference implementation.
    question::check(authority.iter(), revocations, None, "authenticTimestamp")?;
    let by = authority.first().map_or("", Certificate::subject);
    let detail = format!("stamped at {} by `{by}`", written(&stamped.at()));
    Ok(Holds { detail: Some(detail), until: None })
}

fn check_valid(envelope: &Envelope, at: OffsetDateTime) -> Result<(), SignatureError> {
    match envelope.chain().certificates().find(|certificate| !certificate.is_valid_at(at)) {
        Some(bad) => Err(SignatureError::NotValid { subject: bad.subject().to_owned(), at }),
        None => Ok(()),
    }
}
