//! Real tokens: those in signatures that the reference implementation publishes.
//!
//! The data is not part of this repository. Where it is absent, these tests say so and pass. Tokens
//! of our own are made and broken in the testkit, which core does not know.

#![expect(
    clippy::disallowed_methods,
    reason = "core does no IO; this test of it reads files, found by an environment variable"
)]

use std::path::{Path, PathBuf};

use time::macros::datetime;

use super::super::envelope::{COSE, Envelope, JOSE};
use super::*;

/// The folder `notary` of the shared data, if it is there.
fn data() -> Option<PathBuf> {
    let base = std::env::var_os("PORTCULLIS_SHARED_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let notary = base.join("notary");
    if notary.is_dir() {
        return Some(notary);
    }
    let skipped = format!("SKIPPED: there is no Notary Project data at {}\n", notary.display());
    std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
    None
}

#[test]
fn timestamps_of_the_reference_implementation_are_verified() {
    let Some(data) = data() else { return };
    // The public root of the authority, GlobalSign R6, which the reference's own tests trust too.
    let root = data.join("truststore/x509/tsa/test-timestamp/globalsignRoot.cer");
    let root = std::fs::read(root).unwrap();
    let anchors = [Anchor::read(&root, "tsa:test-timestamp").unwrap()];
    for (file, media_type, at) in [
        ("jwsWithTimestamp.sig", JOSE, datetime!(2024-06-18 06:29:34 UTC)),
        ("coseWithTimestamp.sig", COSE, datetime!(2024-06-18 06:27:12 UTC)),
    ] {
        let envelope = std::fs::read(data.join("envelopes").join(file)).unwrap();
        let envelope = Envelope::open(&envelope, media_type).unwrap();
        let token = envelope.timestamp().unwrap();
        let verify = |token: &[u8], signature: &[u8], anchors: &[Anchor]| {
            verify(token, signature, anchors, &mut None)
        };
        let stamped = verify(token, envelope.signature(), &anchors).unwrap();
        assert!((stamped.at - at).abs() < Duration::seconds(5), "{file}: {}", stamped.at);
        assert_eq!(stamped.chain.len(), 3, "{file}");
        // Its certificate ended in 2024, before the token is used here.
        stamped.check_covers(envelope.chain()).unwrap();

        let other = verify(token, b"other", &anchors).unwrap_err();
        assert!(matches!(other, TimestampError::Imprint), "{file}: {other:?}");
        let nobody = verify(token, envelope.signature(), &[]).unwrap_err();
        assert!(matches!(nobody, TimestampError::Untrusted { .. }), "{file}: {nobody:?}");
        let mut spoilt = token.to_vec();
        *spoilt.last_mut().unwrap() ^= 1;
        let spoilt = verify(&spoilt, envelope.signature(), &anchors).unwrap_err();
        assert!(matches!(spoilt, TimestampError::Signature { .. }), "{file}: {spoilt:?}");
    }
    let bare = std::fs::read(data.join("envelopes/withoutTimestamp.sig")).unwrap();
    assert!(Envelope::open(&bare, JOSE).unwrap().timestamp().is_none());
}
