//! The decision cases of core, through the whole service: signed reports in a registry, rules in a
//! file, the cache on and off.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::evidence::{Evidence, Report, Statements, Subject};
use portcullis_core::findings::vex::Status;
use portcullis_core::findings::{FindingRef, VEX_MEDIA_TYPES, VULNS_V0_2};
use portcullis_core::image::{Digest, Platform};
use portcullis_core::policy::Source;
use portcullis_core::referrers::{CREATED, IN_TOTO, PREDICATE_TYPE};
use portcullis_core::signature::sign::Format;
use portcullis_core::simulate::cases::{self, Case, Found, FoundViolation};
use portcullis_proto::v1;
use portcullis_server::registry::{HostConfig, Scheme};
use portcullis_testkit::attach::{Artifact, attach, sign};
use portcullis_testkit::clock::TestClock;
use portcullis_testkit::image::{image, index, platform_image};
use portcullis_testkit::keys::Authority;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::world::*;

/// The fewest cases that must be asked.
const FEWEST: usize = 60;

/// Whether answers come from memory the second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cache {
    On,
    Off,
}

#[tokio::test]
async fn every_case_is_decided_alike_from_the_registry() {
    assert!(check(Cache::Off).await >= FEWEST);
}

#[tokio::test]
async fn every_case_is_decided_alike_from_memory() {
    assert!(check(Cache::On).await >= FEWEST);
}

/// Asks each case that can be asked, twice, and gives how many there are.
async fn check(cache: Cache) -> usize {
    let mut count = 0;
    for (rules, case) in all().into_iter().filter(|(_, case)| can_be_asked(case)) {
        count += 1;
        let world = site(&rules, &case, cache).await.start().await;
        for source in [EvidenceSource::Registry, EvidenceSource::Memory] {
            let answer = world.try_ask(question(&case)).await.unwrap();
            let decision = &answer.decisions[0];
            let differences = case.expected.differences(&found(decision));
            assert!(differences.is_empty(), "{}: {differences:#?}\n{decision:#?}", case.name);
            let source = if cache == Cache::Off { EvidenceSource::Registry } else { source };
            assert!(decision.evidence.iter().all(|e| e.source() == source), "{}", case.name);
        }
        world.stop().await;
    }
    count
}

/// All cases, each with its rules.
fn all() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/cases");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let documents: Vec<_> = text.split("\n---\n").collect();
        for pair in documents.chunks(2) {
            let source = Source { file: "cases".to_owned(), text: pair[1].to_owned() };
            let mut open = |path: &str| Err(format!("{path} is not here").into());
            let cases = cases::parse(&source, OffsetDateTime::UNIX_EPOCH, &mut open).unwrap();
            all.extend(cases.into_iter().map(|case| (pair[0].to_owned(), case)));
        }
    }
    all
}

/// Whether a registry can be in the state that the case assumes: it chooses digests itself, and its
/// faults have tests of their own.
fn can_be_asked(case: &Case) -> bool {
    let chosen = Digest::from_bytes([0xaa; 32]);
    case.subjects.iter().all(|subject| {
        matches!(*subject.evidence, Evidence::Verified(_) | Evidence::Missing)
            && subject.digest != Some(chosen)
    })
}

/// A service with these rules, and the case's image with its reports in a registry.
async fn site(rules: &str, case: &Case, cache: Cache) -> Site {
    let mut site = Site::new().await;
    site.write_rules(rules);
    site.clock = Arc::new(TestClock::new(case.time));
    site.authority = Authority::new("it", case.time).unwrap();
    site.key = site.authority.issue("scanner").unwrap().signing_key().unwrap();
    site.write_trust(&site.authority);
    // Where break-glass is used, that must be recorded.
    site.config.events = Some(site.path("events.jsonl"));
    let endpoint = Some(site.registry.host().to_owned());
    let host = HostConfig { scheme: Scheme::Http, endpoint, ..HostConfig::default() };
    site.config.registry.hosts = BTreeMap::from([(case.image.registry().to_owned(), host)]);
    if cache == Cache::Off {
        site.config.resolve.tag_ttl = Duration::ZERO;
        site.config.memory.ttl = Duration::ZERO;
        site.config.memory.negative_ttl = Duration::ZERO;
    }
    push(&site, case);
    site
}

/// Pushes the image, its platforms and all that is attached to them.
fn push(site: &Site, case: &Case) {
    let (repository, tag) = (case.image.repository(), case.image.tag().unwrap());
    let (own, platforms) = case.subjects.split_first().unwrap();
    let mut manifests: Vec<(Platform, Digest)> = Vec::new();
    for subject in platforms {
        let platform = subject.platform.clone().unwrap();
        let digest = platform_image(&site.registry, repository, "", &platform, "case").unwrap();
        attach_all(site, case, digest, subject);
        manifests.push((platform, digest));
    }
    let digest = if manifests.is_empty() {
        image(&site.registry, repository, tag, "case").unwrap()
    } else {
        index(&site.registry, repository, tag, &manifests).unwrap()
    };
    attach_all(site, case, digest, own);
}

fn attach_all(site: &Site, case: &Case, digest: Digest, subject: &Subject) {
    let Evidence::Verified(reports) = &*subject.evidence else {
        return;
    };
    let attach = |artifact: &Artifact| {
        let repository = case.image.repository();
        let attached = attach(&site.registry, repository, digest, artifact).unwrap();
        sign(&site.registry, repository, attached, &site.key, Format::Jws, case.time).unwrap();
    };
    reports.iter().for_each(|report| attach(&statement(report, digest)));
    reports.vex().iter().for_each(|document| attach(&vex(document, digest)));
}

/// The report as a statement of predicate vulns v0.2.
fn statement(report: &Report, subject: Digest) -> Artifact {
    let findings = &report.findings;
    let finished = findings.scanned_at.format(&Rfc3339).unwrap();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": subject.hex() } }],
        "predicateType": VULNS_V0_2,
        "predicate": {
            "scanner": {
                "uri": findings.scanner.name,
                "db": {},
                "result": findings.iter().map(result).collect::<Vec<_>>(),
            },
            "metadata": { "scanStartedOn": finished, "scanFinishedOn": finished },
        },
    });
    let mut artifact = artifact(IN_TOTO, &statement, finished);
    artifact.annotations.insert(PREDICATE_TYPE.to_owned(), VULNS_V0_2.to_owned());
    artifact
}

fn result(finding: FindingRef<'_>) -> Value {
    let finding = finding.to_finding();
    let mut annotation = json!(finding);
    let members = annotation.as_object_mut().unwrap();
    for (ours, theirs) in
        [("installed", "installed_version"), ("fixed", "fixed_version"), ("score", "cvss_score")]
    {
        if let Some(value) = members.remove(ours) {
            members.insert(theirs.to_owned(), value);
        }
    }
    if let Some(fixed) = members.get_mut("fixed_version") {
        let versions: Vec<_> = fixed.as_array().unwrap().iter().flat_map(Value::as_str).collect();
        *fixed = json!(versions.join(", "));
    }
    let severity = json!([{ "method": "case", "score": finding.severity.as_str() }]);
    json!({ "id": finding.id, "severity": severity, "annotations": [annotation] })
}

/// The document as OpenVEX.
fn vex(document: &Statements, subject: Digest) -> Artifact {
    let product = format!("pkg:oci/app@{subject}");
    let newest = document.vex.statements.iter().map(|statement| statement.issued_at).max();
    let newest = newest.unwrap().format(&Rfc3339).unwrap();
    let statements = document.vex.statements.iter().map(|statement| {
        let packages = statement.packages.iter().map(|purl| json!({ "@id": purl }));
        let mut product = json!({ "@id": product });
        if !statement.packages.is_empty() {
            product["subcomponents"] = packages.collect();
        }
        let mut json = json!({
            "vulnerability": { "name": statement.ids[0] },
            "timestamp": statement.issued_at.format(&Rfc3339).unwrap(),
            "products": [product],
            "status": statement.status.as_str(),
        });
        if statement.status == Status::NotAffected {
            json["justification"] = json!("component_not_present");
        }
        json
    });
    let document = json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "author": document.vex.author,
        "timestamp": newest,
        "statements": statements.collect::<Vec<_>>(),
    });
    artifact(VEX_MEDIA_TYPES[0], &document, newest)
}

fn artifact(media_type: &str, layer: &Value, created: String) -> Artifact {
    Artifact {
        artifact_type: media_type.to_owned(),
        media_type: media_type.to_owned(),
        layer: Bytes::from(layer.to_string()),
        annotations: BTreeMap::from([(CREATED.to_owned(), created)]),
    }
}

fn question(case: &Case) -> v1::CheckRequest {
    let ctx = case.context.clone();
    let context = v1::Context {
        cluster: ctx.cluster,
        cloud: Some(v1::Cloud { provider: ctx.provider, account: ctx.account, region: ctx.region }),
        namespace: ctx.namespace,
        namespace_labels: ctx.namespace_labels.into_iter().collect(),
        workload: Some(v1::Workload { kind: ctx.workload_kind, name: ctx.workload }),
        pod: ctx.pod,
        pod_labels: ctx.pod_labels.into_iter().collect(),
        service_account: ctx.service_account,
        break_glass: ctx.break_glass,
        platforms: Vec::new(),
    };
    let image = case.image.to_string();
    v1::CheckRequest { context: Some(context), ..crate::world::question(&image) }
}

fn found(decision: &v1::Decision) -> Found {
    let violations = decision.violations.iter().map(|violation| FoundViolation {
        rule: violation.rule.clone(),
        condition: violation.condition.clone(),
        count: violation.findings_total as usize,
    });
    let unique = |mut names: Vec<String>| {
        names.sort();
        names.dedup();
        names
    };
    Found {
        action: match decision.action() {
            Action::Allow => portcullis_core::decide::Action::Allow,
            Action::Audit => portcullis_core::decide::Action::Audit,
            Action::Deny => portcullis_core::decide::Action::Deny,
            Action::Unspecified => panic!("no action: {decision:?}"),
        },
        rule: Some(decision.rule.clone()).filter(|rule| !rule.is_empty()),
        violations: violations.collect(),
        exemptions: unique(decision.exemptions.iter().map(|e| e.name.clone()).collect()),
        notices: unique(decision.notice_details.iter().map(|n| n.kind.clone()).collect()),
        break_glass: decision.break_glass.as_ref().map(|lifted| lifted.name.clone()),
        message: decision.message.clone(),
    }
}
