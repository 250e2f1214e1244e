//! More is asked about than may be kept.

use portcullis_core::evidence::Report;
use portcullis_core::findings::{Findings, Scanner};
use portcullis_core::signature::Signer;

use super::*;

/// Of each image a report that weighs this much at least.
const WEIGHT: usize = 64 * 1024;
/// The images that are asked about: four times what may be kept.
const IMAGES: usize = 512;
const MAX_BYTES: u64 = (IMAGES * WEIGHT / 4) as u64;

struct Heavy {
    asked: AtomicUsize,
}

impl EvidenceSource for Heavy {
    async fn evidence(&self, question: &Question, _: Instant) -> Known {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let signer = Signer {
            subject: "x".repeat(WEIGHT),
            fingerprint: question.digest.to_string(),
            policy: "it".to_owned(),
            signed_at: None,
        };
        let scanner = Scanner { name: "trivy".to_owned(), version: None };
        let report = Report {
            digest: question.digest,
            signer: Arc::new(signer),
            findings: Findings::new(scanner, NOW, Vec::new()),
            notices: Vec::new(),
        };
        Known {
            evidence: Arc::new(Evidence::verified(vec![Arc::new(report)])),
            fetched_at: NOW,
            fresh_until: NOW,
            source: super::super::Source::Registry,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t144_a_working_set_of_four_times_the_bound_stays_within_it_and_every_answer_is_right() {
    let metrics = Arc::new(Metrics::new());
    let config = MemoryConfig { max_bytes: MAX_BYTES, ..exact() };
    let memory = Memory::new(
        Heavy { asked: AtomicUsize::new(0) },
        config,
        Arc::new(TestClock::new(NOW)),
        Arc::clone(&metrics),
        Changes::default(),
        TaskTracker::new(),
        Handle::current(),
    );
    let image = |n: usize| Question { digest: Digest::of(&n.to_be_bytes()), ..question() };
    for n in 0..4 * IMAGES {
        // Every other question is about one of a few.
        let question = image(if n % 2 == 0 { n / 2 % 8 } else { n * 7 % IMAGES });
        let known = memory.evidence(&question, Instant::now() + Duration::from_secs(5)).await;
        let Evidence::Verified(reports) = &*known.evidence else { panic!("{known:?}") };
        assert_eq!(reports.iter().next().unwrap().digest, question.digest);
        let (kept, bytes) = memory.size();
        assert!(bytes <= MAX_BYTES, "{kept} weigh {bytes}");
    }
    let (kept, bytes) = memory.size();
    assert!(bytes > MAX_BYTES / 2 && kept > IMAGES / 32, "{kept} weigh {bytes}");
    // The few were found once each, and stayed.
    let asked = memory.0.inner.asked.load(Ordering::SeqCst);
    assert!(asked < 2 * IMAGES + IMAGES / 4, "{asked}");
    let text = metrics.encode().unwrap();
    let evicted = text.lines().find_map(|l| l.strip_prefix("portcullis_evidence_evicted_total "));
    assert_eq!(evicted.unwrap().parse::<usize>().unwrap(), asked - kept);
}
