//! Real bundles with certificates of Fulcio, and what is to be refused of them.
//!
//! The bundles are those that `sigstore-verify` is published with: attestations of a package, about
//! which core is asked as if it were an image. Where its source has none, these tests say so and pass.

#![cfg(feature = "keyless")]
#![expect(
    clippy::disallowed_methods,
    reason = "core does no IO; this test of it reads files beside the source of a dependency"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy takes the functions that tests share for production code"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use portcullis_core::evidence::Reason;
use portcullis_core::image::Digest;
use portcullis_core::signature::cosign::{
    Attestation, BUNDLE, CosignEntry, CosignTrust, MAX_IDENTITY_REGEX, Request, examine,
};
use portcullis_core::signature::{SignatureError, Trust, Verified};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

const PACKAGE: &str = "sha256:54303491a8418fbed24344b513546182c29b43bf282ceb433af65e2299f9271f";
const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);
/// When Rekor took in the first bundle, and when its certificate ends.
const SIGNED: OffsetDateTime = datetime!(2025-09-01 12:13:59 UTC);
const IDENTITY: &str =
    "https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// The test data of the crate, if its source has some.
fn data() -> Option<PathBuf> {
    // Of other platforms, sources need not be there.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = ["metadata", "--format-version", "1", "--offline", "--locked"];
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(arguments).args(["--filter-platform", &platform]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let found = packages.iter().find(|package| package["name"] == "sigstore-verify");
    let manifest = found.and_then(|package| package["manifest_path"].as_str()).map(Path::new);
    let data = manifest.and_then(Path::parent).map(|folder| folder.join("test_data"));
    if let Some(data) = data.filter(|data| data.is_dir()) {
        return Some(data);
    }
    // Not by `println!`, which the test harness keeps to itself.
    let skipped = b"SKIPPED: the source of sigstore-verify has no test data\n";
    std::io::Write::write_all(&mut std::io::stderr(), skipped).unwrap();
    None
}

fn read(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// An attestation with an entry of Rekor version 1, its root, and the entry that trusts it.
struct Case {
    bundle: Value,
    root: Value,
    entry: CosignEntry,
    now: OffsetDateTime,
}

impl Case {
    fn new(data: &Path) -> Self {
        let entry = CosignEntry {
            name: "scanner".to_owned(),
            scopes: vec!["*".to_owned()],
            identity: Some(IDENTITY.to_owned()),
            issuer: Some(ISSUER.to_owned()),
            ..CosignEntry::default()
        };
        Self {
            bundle: read(&data.join("bundles/conda-attestation.sigstore.json")),
            root: read(&data.join("trusted_roots/public-good.json")),
            entry,
            now: NOW,
        }
    }

    /// Of version 2, whose time is that of an RFC 3161 timestamp.
    fn of_rekor_2(data: &Path) -> Self {
        let root = sigstore_verify::trust_root::SIGSTORE_STAGING_TRUSTED_ROOT;
        let mut case = Self::new(data);
        case.bundle = read(&data.join("bundles/conda-attestation-rekor2.sigstore.json"));
        case.root = serde_json::from_str(root).unwrap();
        case.entry.identity = Some("jku@goto.fi".to_owned());
        case.entry.issuer = Some("https://github.com/login/oauth".to_owned());
        case
    }

    fn log_entry(&mut self) -> &mut Value {
        &mut self.bundle["verificationMaterial"]["tlogEntries"][0]
    }

    fn verify(&self) -> Result<Verified, SignatureError> {
        let trust_root = Some(self.root.to_string().into_bytes());
        let entry = CosignEntry { trust_root, ..self.entry.clone() };
        let trust = Trust::nobody().with_cosign(CosignTrust::parse(&[entry]).unwrap());
        let bytes = Bytes::from(self.bundle.to_string());
        let attestation = &Attestation::parse(&bytes, BUNDLE).unwrap();
        let subject: Digest = PACKAGE.parse().unwrap();
        let request =
            Request { scope: "reg.io/app", subject, report: Digest::of(&bytes), attestation };
        examine(&request, &trust, self.now).outcome
    }
}

/// The reason for which a bundle is rejected after `change`, or `None` for a good one.
#[track_caller]
fn check(mut case: Case, expected: Option<Reason>, change: impl FnOnce(&mut Case)) {
    change(&mut case);
    let outcome = case.verify();
    let reason = outcome.as_ref().err().map(SignatureError::reason);
    assert_eq!(reason, expected, "{outcome:?}");
}

#[test]
fn attestations_by_a_certificate_are_verified_with_their_logs() {
    let Some(data) = data() else { return };
    let verified = Case::new(&data).verify().unwrap();
    let signer = verified.signer();
    assert_eq!(signer.subject, format!("{IDENTITY} (issuer {ISSUER})"));
    assert_eq!((signer.policy.as_str(), signer.signed_at), ("scanner", Some(SIGNED)));
    assert_eq!(verified.subject(), PACKAGE.parse().unwrap());
    let verified = Case::of_rekor_2(&data).verify().unwrap();
    assert!(verified.signer().subject.starts_with("jku@goto.fi (issuer "));
    assert_eq!(
        verified.signer().signed_at.map(|at| at.date()),
        Some(time::macros::date!(2026 - 05 - 26))
    );
}

#[test]
fn t008_another_identity_or_issuer_is_not_trusted() {
    let Some(data) = data() else { return };
    let untrusted = Some(Reason::UntrustedSigner);
    let case = || Case::new(&data);
    check(case(), None, |_| {});
    check(case(), untrusted, |c| c.entry.identity = Some("somebody@example.com".to_owned()));
    check(case(), untrusted, |c| c.entry.identity = Some(IDENTITY.replace("main", "mai")));
    check(case(), untrusted, |c| c.entry.issuer = Some("https://example.com".to_owned()));
    // An authority that is not in the root.
    check(case(), untrusted, |c| {
        let staging = sigstore_verify::trust_root::SIGSTORE_STAGING_TRUSTED_ROOT;
        let staging: Value = serde_json::from_str(staging).unwrap();
        c.root["certificateAuthorities"] = staging["certificateAuthorities"].clone();
    });
}

#[test]
fn t009_a_pattern_matches_whole_identities() {
    let Some(data) = data() else { return };
    let with = |pattern: &str, expected| {
        check(Case::new(&data), expected, |case| {
            case.entry.identity = None;
            case.entry.identity_regex = Some(pattern.to_owned());
        });
    };
    let untrusted = Some(Reason::UntrustedSigner);
    with(r"^https://github\.com/prefix-dev/[a-z-]+/\.github/workflows/.*$", None);
    with(r"^https://github\.com/prefix-dev$", untrusted);
    with(r"^https://github\.com/prefix-dev|nobody$", untrusted);
    with(r"^nobody|refs/heads/main$", untrusted);
}

#[test]
fn t010_an_entry_of_a_log_is_of_this_signature_and_proven() {
    let Some(data) = data() else { return };
    let bad = Some(Reason::BadSignature);
    let (one, two) = (|| Case::new(&data), || Case::of_rekor_2(&data));
    // The entry of another signature, which is good in the same log: a time at which the certificate
    // had ended, or none.
    let entry_of =
        |bundle: &str| read(&data.join(bundle))["verificationMaterial"]["tlogEntries"][0].clone();
    check(one(), Some(Reason::UntrustedSigner), |case| {
        *case.log_entry() = entry_of("bundles/cosign-v3-blob.sigstore.json");
    });
    check(two(), bad, |case| {
        *case.log_entry() = entry_of("sct-multi-intermediate/staging_bundle.sigstore.json");
    });
    // A proof that is not of the entry.
    for case in [one(), two()] {
        check(case, bad, |case| {
            let hash = STANDARD.encode([7; 32]);
            case.log_entry()["inclusionProof"]["hashes"][0] = hash.into();
        });
    }
    // A log that nobody trusts.
    check(one(), bad, |case| case.root["tlogs"] = json!([]));
    check(two(), bad, |case| case.root["tlogs"] = json!([]));
    // An entry that nothing proves, beside one that is proven.
    check(one(), bad, |case| {
        let mut unproven = case.log_entry().clone();
        let members = unproven.as_object_mut().unwrap();
        members.remove("inclusionProof");
        members.remove("inclusionPromise");
        case.bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(unproven);
    });
    // No entry at all, where a timestamp would do but for the log that is demanded.
    let none = |case: &mut Case| case.bundle["verificationMaterial"]["tlogEntries"] = json!([]);
    check(two(), bad, none);
    check(two(), None, |case| {
        none(case);
        case.entry.require_log = Some(false);
    });
}

#[test]
fn t011_keys_and_authorities_count_while_they_are_valid() {
    let Some(data) = data() else { return };
    let before = json!({"start": "2021-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"});
    let after = json!({"start": "2026-07-01T00:00:00Z"});
    for window in [before, after] {
        for case in [Case::new(&data), Case::of_rekor_2(&data)] {
            check(case, Some(Reason::BadSignature), |case| {
                for log in case.root["tlogs"].as_array_mut().unwrap() {
                    log["publicKey"]["validFor"] = window.clone();
                }
            });
        }
        check(Case::new(&data), Some(Reason::UntrustedSigner), |case| {
            for authority in case.root["certificateAuthorities"].as_array_mut().unwrap() {
                authority["validFor"] = window.clone();
            }
        });
    }
    check(Case::new(&data), Some(Reason::BadSignature), |case| {
        case.now = SIGNED - time::Duration::hours(1);
    });
    check(Case::new(&data), None, |case| case.now = SIGNED);
    // A key that had ended, under the name of one that had not.
    check(Case::of_rekor_2(&data), Some(Reason::BadSignature), |case| {
        let logs = case.root["tlogs"].as_array_mut().unwrap();
        for log in logs.iter_mut() {
            let ended = json!({"start": "2021-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"});
            log["publicKey"]["validFor"] = ended;
        }
        let (mut other, id) = (logs[0].clone(), json!({"keyId": STANDARD.encode([7; 32])}));
        other["publicKey"].as_object_mut().unwrap().remove("validFor");
        other["logId"] = id.clone();
        logs.push(other);
        case.log_entry()["logId"] = id;
    });
    // Somebody's time that the log did not state.
    check(Case::new(&data), Some(Reason::BadSignature), |case| {
        case.log_entry()["integratedTime"] = "1756728840".into();
    });
}

#[test]
fn t028_a_signature_of_bytes_lends_its_certificate_to_no_statement() {
    let Some(data) = data() else { return };
    let mut bundle = read(&data.join("bundles/cosign-v3-blob.sigstore.json"));
    let read = |bundle: &Value| {
        let bytes = Bytes::from(bundle.to_string());
        Attestation::parse(&bytes, BUNDLE).unwrap_err().to_string()
    };
    assert!(read(&bundle).contains("has no DSSE envelope"));
    bundle["dsseEnvelope"] = Case::new(&data).bundle["dsseEnvelope"].clone();
    assert!(read(&bundle).contains("has both"));
}

#[test]
fn what_was_changed_after_signing_is_a_bad_signature() {
    let Some(data) = data() else { return };
    for case in [Case::new(&data), Case::of_rekor_2(&data)] {
        check(case, Some(Reason::BadSignature), |case| {
            let payload = case.bundle["dsseEnvelope"]["payload"].as_str().unwrap();
            let mut statement: Value =
                serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap();
            statement["predicate"] = json!({});
            let changed = STANDARD.encode(statement.to_string());
            case.bundle["dsseEnvelope"]["payload"] = changed.into();
        });
    }
}

#[test]
fn an_entry_for_certificates_is_complete_and_its_pattern_anchored() {
    let Some(data) = data() else { return };
    let refused = |change: &dyn Fn(&mut CosignEntry)| {
        let case = Case::new(&data);
        let mut entry = case.entry;
        entry.trust_root = Some(case.root.to_string().into_bytes());
        CosignTrust::parse(std::slice::from_ref(&entry)).unwrap();
        change(&mut entry);
        let error = CosignTrust::parse(&[entry]).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        source.unwrap_or_else(|| error.to_string())
    };
    assert!(refused(&|e| e.issuer = None).contains("`issuer`"));
    assert!(refused(&|e| e.trust_root = None).contains("`trustRoot`"));
    assert!(refused(&|e| e.trust_root = Some(b"{}".to_vec())).contains("`trustRoot`"));
    assert!(refused(&|e| e.identity = Some(String::new())).contains("`identity`"));
    assert!(refused(&|e| e.identity_regex = Some("^a$".to_owned())).contains("needs one of"));
    assert!(refused(&|e| e.identity = None).contains("needs a `key`"));
    assert!(refused(&|e| e.key = Some(Vec::new())).contains("needs a `key`"));
    let pattern = |text: &str| {
        refused(&|entry| {
            entry.identity = None;
            entry.identity_regex = Some(text.to_owned());
        })
    };
    assert!(pattern("github.com").contains("must begin with `^`"));
    assert!(pattern("^a)|(b$").contains("cannot be used"));
    assert!(pattern("^(a{1000}){1000}$").contains("cannot be used"));
    assert!(pattern(&format!("^{}$", "a".repeat(MAX_IDENTITY_REGEX - 1))).contains("longer than"));
}
