//! A signer and a timestamping authority, and what core says of signatures that it stamped.

use portcullis_core::signature::sign::Format;
use portcullis_core::signature::{SignatureError, StoreKind, TimestampError, Trust};
use portcullis_testkit::chain::{Chain, ChainPlan};
use portcullis_testkit::envelope::{EnvelopePlan, stamped};
use portcullis_testkit::keys::KeyKind;
use portcullis_testkit::tsa::{TokenPlan, Tsa, TsaPlan};
use serde_json::Value;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::world::*;

/// When the certificates of the signing chain have expired, and those of the authority have not.
pub(crate) const LATER: OffsetDateTime = datetime!(2027-05-01 00:00 UTC);

/// Who signs, and an authority whose certificates end years later.
pub(crate) struct Site {
    pub(crate) chain: Chain,
    pub(crate) tsa: Tsa,
}

impl Site {
    pub(crate) fn new(chain: impl FnOnce(&mut ChainPlan), tsa: impl FnOnce(&mut TsaPlan)) -> Self {
        let mut plan = ChainPlan::new("it", NOW).unwrap();
        chain(&mut plan);
        let mut authority = TsaPlan::new(NOW).unwrap();
        for params in [&mut authority.leaf, &mut authority.root] {
            params.not_after = datetime!(2036-01-01 00:00 UTC);
        }
        tsa(&mut authority);
        Self { chain: plan.make().unwrap(), tsa: Tsa::made(authority).unwrap() }
    }

    pub(crate) fn good() -> Self {
        Self::new(|_| {}, |_| {})
    }

    pub(crate) fn trust(&self, verification: &Value) -> Trust {
        let roots = [(StoreKind::Ca, self.chain.root()), (StoreKind::Tsa, self.tsa.root())];
        trust(verification, &roots)
    }

    /// A signature without a timestamp.
    pub(crate) fn signed(&self, format: Format) -> Vec<u8> {
        // Core's own writer refuses to sign with what has expired.
        let plan = EnvelopePlan::x509(format, KeyKind::P256, &self.chain, report(), SIGNED);
        plan.seal(&self.chain, KeyKind::P256).unwrap()
    }

    /// A signature with a timestamp as it is after `change`.
    pub(crate) fn stamped(
        &self,
        format: Format,
        at: OffsetDateTime,
        change: impl Fn(&mut TokenPlan),
    ) -> Vec<u8> {
        stamped(format, &self.signed(format), |signature| {
            let mut plan = self.tsa.plan(signature, at)?;
            change(&mut plan);
            self.tsa.forge(&plan)
        })
        .unwrap()
    }

    /// What core says of it under level strict, long after the signing certificates expired.
    pub(crate) fn said(
        &self,
        at: OffsetDateTime,
        change: impl Fn(&mut TokenPlan),
    ) -> Result<(), SignatureError> {
        let trust = self.trust(&strict());
        let said = FORMATS.map(|format| {
            let envelope = self.stamped(format, at, &change);
            verified(format, &envelope, &trust, LATER + Duration::days(365)).map(drop)
        });
        let [jws, cose] = said;
        assert_eq!(jws.is_ok(), cose.is_ok(), "{jws:?} {cose:?}");
        jws
    }
}

#[track_caller]
pub(crate) fn refused(
    said: Result<(), SignatureError>,
    expected: impl Fn(&TimestampError) -> bool,
) {
    let error = said.expect_err("it was accepted");
    let SignatureError::Timestamp(error) = error else { panic!("{error:?}") };
    assert!(expected(&error), "{error:?}");
}

pub(crate) fn outside(name: &str) -> impl Fn(&TimestampError) -> bool {
    move |e| matches!(e, TimestampError::Outside { subject, .. } if subject.starts_with(name))
}
