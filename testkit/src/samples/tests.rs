//! Each sample is what it says that it is.

use portcullis_core::evidence::Reason;
use portcullis_core::findings;
use portcullis_core::image::Reference;
use portcullis_core::policy::{self, Source};
use portcullis_core::referrers::{self, Document};
use serde_json::Value;
use time::macros::datetime;

use super::*;
use crate::verification::verified;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

struct World {
    registry: Registry,
    authority: Authority,
    samples: Vec<Sample>,
}

/// What can be said of a report: how many findings it has, or why it is refused.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Findings(usize),
    Unsigned,
    Refused(Reason),
}

async fn world() -> World {
    let registry = Registry::start().await.unwrap();
    let authority = Authority::new("Portcullis demo", NOW).unwrap();
    let samples = samples(&registry, &authority, NOW).unwrap();
    World { registry, authority, samples }
}

impl World {
    fn digest(&self, name: &str) -> Digest {
        let sample = self.samples.iter().find(|s| s.name == name).unwrap();
        let reference: Reference = sample.reference.parse().unwrap();
        assert_eq!(reference.registry(), self.registry.host());
        self.registry.tagged(reference.repository(), reference.tag().unwrap()).unwrap()
    }

    fn said(&self, name: &str, subject: Digest) -> Option<Said> {
        let repository = format!("demo/{name}");
        let Self { registry, authority, .. } = self;
        let report = *registry.referrers(&repository, subject).first()?;
        if registry.referrers(&repository, report).is_empty() {
            return Some(Said::Unsigned);
        }
        Some(match verified(registry, authority, &repository, subject, report, NOW) {
            Ok(report) => Said::Findings(findings::parse(&report).unwrap().len()),
            Err(error) => Said::Refused(error.reason()),
        })
    }
}

#[tokio::test]
async fn each_sample_is_what_it_shows() {
    let world = world().await;
    for (name, said) in [
        ("clean", Some(Said::Findings(0))),
        ("critical", Some(Said::Findings(6))),
        ("accepted", Some(Said::Findings(2))),
        ("unscanned", None),
        ("unsigned", Some(Said::Unsigned)),
        ("tampered", Some(Said::Refused(Reason::WrongSubject))),
        ("multi", None),
    ] {
        assert_eq!(world.said(name, world.digest(name)), said, "{name}");
    }
    assert_eq!(world.samples.len(), 7);
}

#[tokio::test]
async fn only_one_platform_is_vulnerable() {
    let world = world().await;
    let index = world.registry.manifest("demo/multi", world.digest("multi")).unwrap();
    let Document::Index(index) = referrers::parse(&index.bytes, &index.media_type).unwrap() else {
        panic!("not an index");
    };
    let said = |platform: &str| {
        let platform = Some(platform.parse().unwrap());
        let found = index.manifests.iter().find(|d| d.runnable_platform() == platform).unwrap();
        world.said("multi", found.digest)
    };
    assert_eq!(index.manifests.len(), 2);
    assert_eq!(said("linux/amd64"), Some(Said::Findings(0)));
    assert_eq!(said("linux/arm64"), Some(Said::Findings(3)));
}

#[test]
fn the_policy_is_read_without_a_warning() {
    let source = Source { file: "rules.yaml".to_owned(), text: rules().to_owned() };
    let policy = policy::parse(&[source]).unwrap();
    assert!(policy.warnings().is_empty(), "{:?}", policy.warnings());
}

#[test]
fn the_policy_accepts_all_findings_of_the_accepted_image() {
    let statement = accepted_debian(NOW).to_statement("x", Digest::of(b"x")).unwrap();
    let statement: Value = serde_json::from_slice(&statement).unwrap();
    for found in statement["predicate"]["scanner"]["result"].as_array().unwrap() {
        let id = found["id"].as_str().unwrap();
        assert!(rules().contains(&format!("- id: {id}\n")), "{id}");
    }
}
