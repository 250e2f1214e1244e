//! What digests take in memory, and what a look at one costs.
//!
//! `cargo bench -p portcullis-server --bench memory -- DIGESTS FINDINGS BOUND_MIB [apart]` fills the memory
//! with so many digests of so many findings each, decides about each under the default rule, and prints
//! how many are kept, what they weigh by the memory's own account, and what the process has resident more
//! than before: as JSON, one document. Findings are drawn as scanners find them: of 4,000 packages with 32,000
//! vulnerabilities and three versions each, an image has one for each 2.5 findings. With `apart` each
//! finding is of any vulnerability in any package, so that reports have words in common and no findings.
//! The last figures are of looks at 100,000 questions, drawn by Zipf's law. The allocator is that of the
//! command.
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

use portcullis_core::decide::{Context, decide};
use portcullis_core::evidence::{Evidence, Report, Source, Subject};
use portcullis_core::findings::{Finding, Findings, FixState, Scanner, Score, Severity};
use portcullis_core::image::Digest;
use portcullis_core::policy::Policy;
use portcullis_core::ports::Clock as _;
use portcullis_core::signature::{Signer, Trust};
use portcullis_server::changes::Changes;
use portcullis_server::clock::SystemClock;
use portcullis_server::evidence::memory::{Memory, MemoryConfig};
use portcullis_server::evidence::{EvidenceSource, Known, Question};
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;

const VULNERABILITIES: u64 = 32_000;
const PACKAGES: u64 = 4_000;
const REPOSITORIES: u64 = 2_000;
const LOOKS: usize = 2_000_000;
const LOOKED_AT: u64 = 100_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes up what was found, always the same of one digest.
struct Made {
    findings: u64,
    /// Whether any vulnerability may be in any package.
    is_apart: bool,
    /// All that may be found otherwise: by package, version and vulnerability.
    known: Vec<Finding>,
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

/// How many vulnerabilities a package has.
const EACH: u64 = VULNERABILITIES / PACKAGES;
/// How many versions of it are about.
const VERSIONS: u64 = 3;

impl Made {
    fn new(findings: u64, is_apart: bool) -> Self {
        let all = 0..PACKAGES * VERSIONS * EACH;
        let known = all.map(|number| {
            let (package, rest) = (number / (VERSIONS * EACH), number % (VERSIONS * EACH));
            Self::finding(package * EACH + rest % EACH, package, rest / EACH)
        });
        Self { findings, is_apart, known: known.collect() }
    }

    fn finding(vulnerability: u64, package: u64, version: u64) -> Finding {
        let of = |salt: u64, limit| Random(vulnerability * 31 + salt).below(limit);
        let version =
            format!("{}.{}.{}-1~deb12u{}", package % 7, package % 31, package % 13, version);
        let name = format!("lib{}{}", ["ssl", "xml", "png", "curl"][package as usize % 4], package);
        let severity = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical]
            [of(1, 4) as usize];
        let aliases = if of(2, 4) == 0 {
            vec![
                format!("GHSA-{vulnerability:04x}-{:04x}-{:04x}", of(8, 9_999), of(9, 9_999))
                    .into(),
            ]
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
            let (package, version) = (random.below(PACKAGES), random.below(VERSIONS));
            let count = 1 + random.below(4);
            // Those of a package are one behind the other.
            let first = random.below(EACH);
            for number in 0..count.min(self.findings - list.len() as u64) {
                list.push(if self.is_apart {
                    Self::finding(random.below(VULNERABILITIES), package, version)
                } else {
                    let place = (package * VERSIONS + version) * EACH + (first + number) % EACH;
                    self.known[place as usize].clone()
                });
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
    let is_apart = std::env::args().any(|arg| arg == "apart");
    let given = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let mut given = given.collect::<Vec<_>>().into_iter();
    let (digests, findings) = (given.next().unwrap_or(10_000), given.next().unwrap_or(100));
    let bound = given.next().unwrap_or(4_096) * 1024 * 1024;
    let config =
        MemoryConfig { max_bytes: bound, ttl: Duration::from_hours(9), ..MemoryConfig::default() };
    let memory = Memory::new(
        Made::new(findings, is_apart),
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
    let policy = Policy::default_policy();
    let ctx = Context { namespace: "payments".to_owned(), ..Context::default() };
    for number in 0..digests {
        let question = question(number, &trust, &access);
        let Known { evidence, fetched_at, source, .. } = memory.evidence(&question, soon()).await;
        let digest = Some(question.digest);
        let subject = Subject { digest, platform: None, evidence, fetched_at, source };
        black_box(decide(&policy, &question.image, &[subject], &ctx, SystemClock.now()));
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
