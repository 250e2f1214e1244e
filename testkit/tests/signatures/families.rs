//! Each family of signatures, of both forms and both schemes, by every kind of key.

use portcullis_core::signature::envelope::EnvelopeError;
use portcullis_core::signature::sign::Format;
use portcullis_core::signature::{CertificateError, SignatureError, StoreKind};
use portcullis_testkit::chain::{Chain, ChainPlan};
use portcullis_testkit::envelope::{EnvelopePlan, Header};
use portcullis_testkit::keys::KeyKind;
use time::{Duration, OffsetDateTime};

use crate::world::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    X509,
    Authority,
}

/// One kind of key with its chain: RSA keys are slow to make.
struct Signer {
    kind: KeyKind,
    chain: Chain,
}

impl Signer {
    fn new(kind: KeyKind) -> Self {
        let plan = ChainPlan { kind, ..ChainPlan::new("it", NOW).unwrap() };
        Self { kind, chain: plan.make().unwrap() }
    }

    fn plan(&self, format: Format, scheme: Scheme) -> EnvelopePlan {
        let make = match scheme {
            Scheme::X509 => EnvelopePlan::x509,
            Scheme::Authority => EnvelopePlan::signing_authority,
        };
        make(format, self.kind, &self.chain, report(), SIGNED)
    }

    fn stores(scheme: Scheme) -> (StoreKind, StoreKind) {
        match scheme {
            Scheme::X509 => (StoreKind::Ca, StoreKind::SigningAuthority),
            Scheme::Authority => (StoreKind::SigningAuthority, StoreKind::Ca),
        }
    }

    /// What core says of the envelope after `change`, at `now`, with the root in a store of `kind`.
    fn said(
        &self,
        (format, scheme): (Format, Scheme),
        change: impl FnOnce(&mut EnvelopePlan),
        kind: StoreKind,
        now: OffsetDateTime,
    ) -> Result<(), SignatureError> {
        let mut plan = self.plan(format, scheme);
        change(&mut plan);
        let envelope = plan.seal(&self.chain, self.kind).unwrap();
        let trust = trust(&strict(), &[(kind, self.chain.root())]);
        verified(format, &envelope, &trust, now).map(drop)
    }
}

type Change = fn(&mut EnvelopePlan);
type Expected = fn(&EnvelopeError) -> bool;

/// Faults that make an envelope bad whoever is trusted.
const FAULTS: [(&str, Change, Expected); 15] = [
    (
        "tampered payload",
        |plan| plan.replaced = Some(br#"{"targetArtifact":{}}"#.to_vec()),
        |e| matches!(e, EnvelopeError::Signature),
    ),
    ("tampered signature", |plan| plan.spoilt = true, |e| matches!(e, EnvelopeError::Signature)),
    (
        "plugin demanded",
        |plan| plan.add_critical("verificationPlugin", Header::Text("some-plugin".into())),
        |e| matches!(e, EnvelopeError::Plugin(name) if name == "some-plugin"),
    ),
    (
        "plugin version demanded",
        |plan| plan.add_critical("verificationPluginMinVersion", Header::Text("1.0.0".into())),
        |e| matches!(e, EnvelopeError::Plugin(_)),
    ),
    (
        "unknown critical header",
        |plan| plan.add_critical("other", Header::Text("x".into())),
        |e| matches!(e, EnvelopeError::UnknownCritical(_)),
    ),
    (
        "critical header that is absent",
        |plan| plan.critical.push("io.cncf.notary.expiry".into()),
        |e| matches!(e, EnvelopeError::CriticalAbsent(_)),
    ),
    (
        "missing signing scheme",
        |plan| plan.remove("signingScheme"),
        |e| matches!(e, EnvelopeError::Header { name, .. } if name.ends_with("signingScheme")),
    ),
    (
        "signing scheme that is not critical",
        |plan| plan.critical.retain(|name| !name.ends_with("signingScheme")),
        // RFC 9052, section 3.1: in COSE an empty list is no list.
        |e| matches!(e, EnvelopeError::NotCritical(_) | EnvelopeError::Cbor(_)),
    ),
    (
        "unknown signing scheme",
        |plan| {
            plan.remove("signingScheme");
            let scheme = Header::Text("notary.other".into());
            plan.headers.push(("io.cncf.notary.signingScheme".into(), scheme));
        },
        |e| matches!(e, EnvelopeError::Scheme(_)),
    ),
    (
        "missing signing time",
        |plan| {
            plan.remove("signingTime");
            plan.remove("authenticSigningTime");
            plan.critical.retain(|name| !name.ends_with("SigningTime"));
        },
        |e| matches!(e, EnvelopeError::Header { .. }),
    ),
    (
        "expiry before signing",
        |plan| plan.add_critical("expiry", Header::Time(SIGNED)),
        |e| matches!(e, EnvelopeError::Expiry),
    ),
    (
        "another content type",
        |plan| plan.content_type = "application/json".into(),
        |e| matches!(e, EnvelopeError::ContentType(_)),
    ),
    (
        "chain out of order",
        |plan| plan.chain.swap(1, 2),
        |e| {
            let EnvelopeError::Chain(source) = e else { return false };
            matches!(
                source,
                CertificateError::NotIssued { .. } | CertificateError::EarlyRoot { .. }
            )
        },
    ),
    (
        "chain without its root",
        |plan| drop(plan.chain.pop()),
        |e| matches!(e, EnvelopeError::Chain(CertificateError::NoRoot { .. })),
    ),
    (
        "no chain",
        |plan| plan.chain.clear(),
        |e| matches!(e, EnvelopeError::Chain(CertificateError::Empty)),
    ),
];

/// All families for one kind of key.
fn check(kind: KeyKind) {
    let signer = Signer::new(kind);
    let expiry = SIGNED + Duration::DAY;
    let long_after = NOW + Duration::days(366);
    for format in FORMATS {
        for scheme in [Scheme::X509, Scheme::Authority] {
            let (right, wrong) = Signer::stores(scheme);
            let form = (format, scheme);
            let context = format!("{kind:?} {form:?}");
            let good = |_: &mut EnvelopePlan| {};
            signer.said(form, good, right, SIGNED).expect(&context);
            let error = signer.said(form, good, wrong, SIGNED).expect_err(&context);
            assert!(matches!(error, SignatureError::UntrustedChain { .. }), "{context}: {error:?}");

            let with_expiry =
                |plan: &mut EnvelopePlan| plan.add_critical("expiry", Header::Time(expiry));
            signer.said(form, with_expiry, right, expiry - Duration::SECOND).expect(&context);
            let error = signer.said(form, with_expiry, right, expiry).expect_err(&context);
            assert!(matches!(error, SignatureError::Expired { .. }), "{context}: {error:?}");

            // An authority vouches for its time; anybody else's certificates must be valid now.
            let late = signer.said(form, good, right, long_after);
            match scheme {
                Scheme::X509 => {
                    let error = late.expect_err(&context);
                    let is = matches!(error, SignatureError::NotValid { .. });
                    assert!(is, "{context}: {error:?}");
                }
                Scheme::Authority => late.expect(&context),
            }

            let stated = |plan: &mut EnvelopePlan| {
                let other = if kind == KeyKind::P256 { KeyKind::P384 } else { KeyKind::P256 };
                plan.algorithm = other;
            };
            let error = signer.said(form, stated, right, SIGNED).expect_err(&context);
            let SignatureError::Envelope(error) = error else { panic!("{context}: {error:?}") };
            assert!(matches!(error, EnvelopeError::AlgorithmMismatch { .. }), "{context}");

            for (family, change, expected) in FAULTS {
                let error = signer.said(form, change, right, SIGNED).expect_err(family);
                let SignatureError::Envelope(error) = error else {
                    panic!("{context}, {family}: {error:?}")
                };
                assert!(expected(&error), "{context}, {family}: {error:?}");
            }
        }
    }
}

#[test]
fn signatures_on_p256_are_judged_by_their_family() {
    check(KeyKind::P256);
}

#[test]
fn signatures_on_p384_are_judged_by_their_family() {
    check(KeyKind::P384);
}

#[test]
fn signatures_on_p521_are_judged_by_their_family() {
    check(KeyKind::P521);
}

#[test]
fn signatures_of_rsa_2048_are_judged_by_their_family() {
    check(KeyKind::Rsa2048);
}

#[test]
fn signatures_of_rsa_3072_are_judged_by_their_family() {
    check(KeyKind::Rsa3072);
}

#[test]
fn signatures_of_rsa_4096_are_judged_by_their_family() {
    check(KeyKind::Rsa4096);
}
