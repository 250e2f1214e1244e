//! An opened envelope and a statement of the trust policy in, what holds of it now out.

use time::{Duration, OffsetDateTime};

use super::envelope::{Envelope, Scheme};
use super::error::{Demanded, SignatureError};
use super::examination::{CheckName, Record, Verdict, explained};
use super::question::{self, Revocations};
use super::statement::{Action, Demands, Statement, Tokens};
use super::store::StoreKind;

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
    if demands.expiry == Action::Enforce {
        judge.until(envelope.expiry());
    }
    judge.settle(CheckName::AuthenticTimestamp, demands.timestamp, || {
        check_time(envelope, demands.tokens, now)
    })?;
    if demands.timestamp == Action::Enforce && envelope.scheme() == Scheme::X509 {
        let ends = envelope.chain().certificates().map(|c| c.not_after() + Duration::SECOND);
        judge.until(ends.min());
    }
    judge.settle(CheckName::Revocation, demands.revocation, || {
        let signed_at = match envelope.scheme() {
            Scheme::X509 => None,
            Scheme::SigningAuthority => Some(envelope.signing_time()),
        };
        question::check(envelope.chain().certificates(), revocations, signed_at)
    })?;
    if judge.pending.is_empty() {
        Ok(judge.judgement)
    } else {
        Err(SignatureError::RevocationPending { questions: judge.pending })
    }
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
        check: impl FnOnce() -> Result<(), SignatureError>,
    ) -> Result<(), SignatureError> {
        if action == Action::Skip {
            self.record.put(name, Verdict::Skipped, Some("the trust policy says so"));
            return Ok(());
        }
        match (check(), action) {
            (Ok(()), _) => self.record.put(name, Verdict::Passed, None),
            (Err(SignatureError::RevocationPending { questions }), _) => {
                self.record.put(name, Verdict::Pending, None);
                self.pending.extend(questions);
            }
            (Err(error), Action::Enforce) => return self.record.step(name, Err(error)),
            (Err(error), Action::Log | Action::Skip) => {
                self.record.put(name, Verdict::Logged, Some(&explained(&error)));
                self.judgement.notices.push(error.to_string());
            }
        }
        Ok(())
    }

    fn until(&mut self, end: Option<OffsetDateTime>) {
        let known = self.judgement.valid_until;
        self.judgement.valid_until = known.into_iter().chain(end).min();
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

fn check_expiry(envelope: &Envelope, now: OffsetDateTime) -> Result<(), SignatureError> {
    match envelope.expiry() {
        Some(at) if at <= now => Err(SignatureError::Expired { at }),
        Some(_) | None => Ok(()),
    }
}

/// That every certificate was valid when it was used, as far as somebody trusted says when.
fn check_time(
    envelope: &Envelope,
    tokens: Tokens,
    now: OffsetDateTime,
) -> Result<(), SignatureError> {
    let mut chain = envelope.chain().certificates();
    let at = match envelope.scheme() {
        Scheme::SigningAuthority => envelope.signing_time(),
        Scheme::X509 => {
            let demanded = match tokens {
                Tokens::Never => false,
                Tokens::Always => true,
                Tokens::AfterCertificateExpiry => {
                    envelope.chain().certificates().any(|c| c.is_expired_at(now))
                }
            };
            if demanded {
                return Err(SignatureError::Timestamp);
            }
            now
        }
    };
    match chain.find(|certificate| !certificate.is_valid_at(at)) {
        Some(bad) => Err(SignatureError::NotValid { subject: bad.subject().to_owned(), at }),
        None => Ok(()),
    }
}
