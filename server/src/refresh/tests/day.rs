//! A night in which nobody asks, and a day in which somebody always does, in moments.

use super::*;
use crate::clock::jumps;

/// Images that run everywhere, and are asked about each minute of a day.
const IMAGES: u64 = 40;
/// Images that are asked about once, in each minute.
const PASSING: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

impl World {
    async fn ask_about(&self, number: u64) -> Known {
        let digest = Digest::of(&number.to_be_bytes());
        let image: Reference = format!("a.io/n{number}@{digest}").parse().unwrap();
        let question = self.refresher.question(&image, digest);
        self.memory.evidence(&question, Instant::now() + Duration::from_secs(1)).await
    }

    fn searches(&self) -> u64 {
        self.asked.load(Ordering::SeqCst).try_into().unwrap()
    }

    fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn t145_a_night_in_which_nobody_asks_costs_nothing_and_in_the_morning_nothing_old_counts() {
    let world = World::new();
    for number in 0..IMAGES {
        world.ask_about(number).await;
    }
    let evening = world.searches();
    // What was asked about lately is kept fresh for a while.
    let config = RefreshConfig::default();
    tokio::time::sleep(config.asked_within + MINUTE).await;
    let night = world.searches();
    assert!(night > evening, "nothing was kept fresh");
    assert!(night - evening <= IMAGES * 8, "{}", night - evening);
    tokio::time::sleep(HOUR * 9).await;
    assert_eq!(world.searches(), night, "somebody was asked for nobody");
    assert_eq!(world.metric("portcullis_flights"), 0);
    // One registry is there in the morning, and then it is not.
    for number in 0..IMAGES {
        let is_down = number >= IMAGES / 2;
        world.is_down.store(is_down, Ordering::SeqCst);
        let known = world.ask_about(number).await;
        let expected = if is_down { "unavailable" } else { "verified" };
        assert_eq!(known.evidence.status(), expected);
        assert_eq!(known.source, Origin::Registry);
        assert!(world.clock.now() - known.fetched_at <= Duration::from_secs(1));
    }
    assert_eq!(world.searches(), night + IMAGES);
}

#[tokio::test(start_paused = true)]
async fn t145_after_a_day_of_questions_there_is_no_more_than_after_an_hour() {
    // Room for the images that stay, and for a small part of those that pass.
    let config = MemoryConfig { max_bytes: 512 * 1024, ..MemoryConfig::default() };
    let world = World::remembering(config.clone());
    let clock: Arc<dyn Clock> = world.clock.clone();
    let watch = jumps::follow(clock, Arc::clone(&world.metrics), world.stop.clone());
    let watch = tokio::spawn(watch);
    let (mut sizes, mut searches) = (Vec::new(), Vec::new());
    for minute in 0..24 * 60 {
        // The registry is away for half an hour at noon.
        let is_away = (12 * 60..12 * 60 + 30).contains(&minute);
        world.is_down.store(is_away, Ordering::SeqCst);
        for number in 0..IMAGES {
            let known = world.ask_about(number).await;
            assert_eq!(known.evidence.status(), "verified", "{number} in minute {minute}");
            let is_first = minute == 0;
            assert_eq!(known.source == Origin::Registry, is_first, "{number} in minute {minute}");
            // Twice as long as a registry that was away is left alone, it is asked again.
            let is_recent = (12 * 60..12 * 60 + 45).contains(&minute);
            let age = world.clock.now() - known.fetched_at;
            assert!(is_recent || age <= config.ttl, "{age} in minute {minute}");
        }
        for passing in 0..PASSING {
            world.ask_about(1_000 + minute * PASSING + passing).await;
        }
        tokio::time::sleep(MINUTE).await;
        if minute % 60 == 59 {
            sizes.push(world.memory.size().1);
            searches.push(world.searches());
        }
    }
    assert!(sizes.iter().all(|bytes| *bytes <= config.max_bytes), "{sizes:?}");
    // Each hour costs as much as the first whole one, but for that in which the registry was away.
    let hours: Vec<_> = searches.windows(2).map(|two| two[1] - two[0]).collect();
    let most = hours.iter().max().unwrap();
    assert!(*most <= hours[0] * 11 / 10, "{hours:?}");
    assert_eq!(world.metric("portcullis_flights"), 0);
    for direction in ["forward", "back"] {
        let line = format!("portcullis_clock_jumps_total{{direction=\"{direction}\"}}");
        assert_eq!(world.metric(&line), 0);
    }
    world.stop.cancel();
    watch.await.unwrap();
}
