//! Searches that end without a result.

use std::sync::atomic::AtomicBool;

use super::*;

/// A registry of which the client panics when it is told to.
struct Breaking {
    breaks: AtomicBool,
    asked: AtomicUsize,
    clock: Arc<TestClock>,
}

impl EvidenceSource for Breaking {
    async fn evidence(&self, _: &Question, _: Instant) -> Known {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(!self.breaks.load(Ordering::SeqCst), "a fault of ours");
        let now = self.clock.now();
        Known {
            evidence: Arc::new(Evidence::verified(Reports::new(Vec::new(), Vec::new()))),
            fetched_at: now,
            fresh_until: now,
            source: super::super::Source::Registry,
        }
    }
}

/// What is in use is asked about again beside use, also after a search that a fault of ours ended.
#[tokio::test(start_paused = true)]
async fn t141_a_search_in_the_background_that_panics_is_tried_again() {
    let clock = Arc::new(TestClock::new(NOW));
    let breaking =
        Breaking { breaks: false.into(), asked: AtomicUsize::new(0), clock: Arc::clone(&clock) };
    let tasks = TaskTracker::new();
    let memory = Memory::new(
        breaking,
        MemoryConfig { soft: 50, ..exact() },
        clock.clone(),
        Arc::default(),
        Changes::default(),
        tasks.clone(),
        Handle::current(),
    );
    let settle = async || {
        tasks.close();
        tasks.wait().await;
        tasks.reopen();
    };
    let asked = || memory.0.inner.asked.load(Ordering::SeqCst);
    memory.evidence(&question(), Instant::now() + Duration::from_secs(5)).await;
    clock.advance(Duration::from_secs(150));
    memory.0.inner.breaks.store(true, Ordering::SeqCst);
    for searches in 2..=3 {
        assert!(memory.peek(&question()).is_some());
        settle().await;
        assert_eq!(asked(), searches);
    }
    memory.0.inner.breaks.store(false, Ordering::SeqCst);
    memory.peek(&question()).unwrap();
    settle().await;
    assert_eq!(asked(), 4);
    // It is as fresh as ever, and nobody asks any more.
    memory.peek(&question()).unwrap();
    settle().await;
    assert_eq!(asked(), 4);
}
