//! What digests take in memory, and what a look at one costs.
//!
//! `cargo bench -p portcullis-server --bench memory -- DIGESTS FINDINGS BOUND_MIB` fills the memory with
//! so many digests of so many findings each, and prints its count, what it weighs by its own account, and
//! what the process has resident more than before: as JSON, one document. Findings are drawn as scanners
//! find them: 30,000 vulnerabilities in 4,000 packages, of which an image has one for each 2.5 findings.
//! The last figures are of looks at 100,000 questions, drawn by Zipf's law.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "a benchmark has no callers, measures real time, and ends where something is wrong"
)]

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::evidence::{Evidence, Report, Source};
use portcullis_core::findings::{Finding, Findings, FixState, Scanner, Score, Severity};
use portcullis_core::image::Digest;
use portcullis_core::ports::Clock as _;
use portcullis_core::signature::{Signer, Trust};
use portcullis_server::changes::Changes;
use portcullis_server::clock::SystemClock;
use portcullis_server::evidence::memory::{Memory, MemoryConfig};
use portcullis_server::evidence::{EvidenceSource, Known, Question};
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;

const VULNERABILITIES: u64 = 30_000;
const PACKAGES: u64 = 4_000;
const REPOSITORIES: u64 = 2_000;
const LOOKS: usize = 2_000_000;
const LOOKED_AT: u64 = 100_000;

/// Makes up what was found, always the same of one digest.
struct Made {
    findings: u64,
}

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

impl Made {
    fn finding(random: &mut Random, package: u64) -> Finding {
        let vulnerability = random.below(VULNERABILITIES);
        let of = |salt: u64, limit| Random(vulnerability * 31 + salt).below(limit);
        let version =
            format!("{}.{}.{}-1~deb12u{}", package % 7, package % 31, package % 13, package % 4);
        let name = format!("lib{}{}", ["ssl", "xml", "png", "curl"][package as usize % 4], package);
        let severity = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical]
            [of(1, 4) as usize];
        let aliases = if of(2, 4) == 0 {
            vec![format!("GHSA-{vulnerability:04x}-{package:04x}").into()]
        } else {
            vec![]
        };
        let has_fix = of(3, 3) > 0;
        Finding {
            id: format!("CVE-20{:02}-{}", 10 + of(4, 16), 1_000 + vulnerability).into(),
            aliases,
            severity,
            score: Score::from_f64(of(5, 100) as f64 / 10.0),
            package: Some(name.clone().into()),
            purl: Some(
                format!("pkg:deb/debian/{name}@{version}?arch=amd64&distro=debian-12.9").into(),
            ),
            installed: Some(version.into()),
            fixed: if has_fix {
                vec![format!("{}.{}.{}-1~deb12u9", package % 7, package % 31, of(6, 40)).into()]
            } else {
                vec![]
            },
            fix_state: if has_fix { FixState::Fixed } else { FixState::NotStated },
            known_exploited: None,
            epss: None,
            published: OffsetDateTime::from_unix_timestamp(
                1_600_000_000 + of(7, 150_000_000) as i64,
            )
            .ok(),
            first_seen: None,
            analysis: Default::default(),
        }
    }

    fn report(&self, digest: Digest, seed: u64) -> Evidence {
        let mut random = Random(seed);
        let mut list = Vec::new();
        while (list.len() as u64) < self.findings {
            let package = random.below(PACKAGES);
            let count = 1 + random.below(4);
            for _ in 0..count.min(self.findings - list.len() as u64) {
                list.push(Self::finding(&mut random, package));
            }
        }
        let scanner = Scanner { name: "trivy".to_owned(), version: Some("0.57.1".to_owned()) };
        let findings = Findings::new(scanner, SystemClock.now(), list);
        let signer = Arc::new(Signer {
            subject: "CN=scanner,O=example,C=DE".to_owned(),
            fingerprint: "a".repeat(64),
            policy: "scanners".to_owned(),
            signed_at: None,
        });
        Evidence::verified(vec![Arc::new(Report { digest, signer, findings, notices: Vec::new() })])
    }
}

impl EvidenceSource for Made {
    async fn evidence(&self, question: &Question, _: tokio::time::Instant) -> Known {
        let seed = u64::from_be_bytes(*question.digest.as_bytes().first_chunk().unwrap());
        let now = SystemClock.now();
        let evidence = Arc::new(self.report(question.digest, seed));
        Known { evidence, fetched_at: now, fresh_until: now, source: Source::Registry }
    }
}

fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn question(number: u64, trust: &Arc<Trust>, access: &Arc<str>) -> Question {
    let repository = number % REPOSITORIES;
    Question {
        image: format!("registry.example.com/team-{}/service-{repository}:v1", repository % 40)
            .parse()
            .unwrap(),
        digest: Digest::of(&number.to_be_bytes()),
        trust: Arc::clone(trust),
        access: Arc::clone(access),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let given = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let mut given = given.collect::<Vec<_>>().into_iter();
    let (digests, findings) = (given.next().unwrap_or(10_000), given.next().unwrap_or(100));
    let bound = given.next().unwrap_or(4_096) * 1024 * 1024;
    let config =
        MemoryConfig { max_bytes: bound, ttl: Duration::from_hours(9), ..MemoryConfig::default() };
    let memory = Memory::new(
        Made { findings },
        config,
        Arc::new(SystemClock),
        Arc::default(),
        Changes::default(),
        TaskTracker::new(),
        tokio::runtime::Handle::current(),
    );
    let (trust, access) = (Arc::new(Trust::nobody()), Arc::from("anonymous"));
    let soon = || tokio::time::Instant::now() + Duration::from_secs(60);
    let before = resident();
    for number in 0..digests {
        memory.evidence(&question(number, &trust, &access), soon()).await;
    }
    let grown = resident() - before;
    let (kept, weight) = memory.size();
    // By Zipf's law with exponent 1 over what is there: the inverse of its distribution.
    let most = LOOKED_AT.min(kept as u64);
    let questions: Vec<_> = (0..most).map(|n| question(digests - 1 - n, &trust, &access)).collect();
    let mut random = Random(7);
    let drawn: Vec<_> = (0..LOOKS)
        .map(|_| {
            let uniform = random.next() as f64 / u64::MAX as f64;
            ((most as f64).powf(uniform) as usize).min(questions.len() - 1)
        })
        .collect();
    let mut rounds: Vec<_> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let mut hits = 0_u64;
            for place in &drawn {
                hits += u64::from(black_box(memory.peek(&questions[*place])).is_some());
            }
            (begun.elapsed().as_nanos() as f64 / LOOKS as f64, hits)
        })
        .collect();
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (peek, hits) = rounds[2];
    println!(
        "{{\"digests\": {digests}, \"findings\": {findings}, \"bound_bytes\": {bound}, \"kept\": {kept}, \
         \"weight_bytes\": {weight}, \"weight_per_digest\": {}, \"resident_bytes\": {grown}, \
         \"resident_per_digest\": {}, \"resident_to_weight\": {:.3}, \"peek_ns\": {peek:.0}, \
         \"peek_hits\": {:.4}}}",
        weight / kept as u64,
        grown / kept as u64,
        grown as f64 / weight as f64,
        hits as f64 / LOOKS as f64,
    );
}
