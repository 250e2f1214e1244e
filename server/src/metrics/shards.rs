//! A thread in, its own place to count in out: what every answer counts is not shared by threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most places, a power of two; threads beyond it share.
const MAX_SHARDS: usize = 32;

thread_local! {
    /// The running number of this thread among those that ever counted.
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

/// One value per thread, as long as there are no more threads than places; added up when they are
/// read. Values are on cache lines of their own: two threads that count do not wait for each other.
#[derive(Debug)]
pub(super) struct Shards<T> {
    first: Padded<T>,
    others: Box<[Padded<T>]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T> Shards<T> {
    /// As many as the machine runs threads at a time, and as many for those in the background.
    pub(super) fn new(new: impl Fn() -> T) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        // A power of two, so that a place is found without a division.
        let count = threads.saturating_mul(2).clamp(1, MAX_SHARDS).next_power_of_two();
        let others = (1..count).map(|_| Padded(new())).collect();
        Self { first: Padded(new()), others }
    }

    /// The value of the calling thread. Another thread may have it too, so it must bear that.
    pub(super) fn mine(&self) -> &T {
        let count = self.others.len() + 1;
        // A thread that ends has given up its number: then any place will do.
        let thread = THREAD.try_with(|thread| *thread).unwrap_or_default();
        let own = (thread & (count - 1)).checked_sub(1).and_then(|place| self.others.get(place));
        &own.unwrap_or(&self.first).0
    }

    /// All values.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others).map(|padded| &padded.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn what_many_threads_count_is_added_up() {
        let shards = Arc::new(Shards::new(AtomicU64::default));
        let threads: Vec<_> = (0..2 * MAX_SHARDS)
            .map(|_| {
                let shards = Arc::clone(&shards);
                std::thread::spawn(move || {
                    for _ in 0..1000 {
                        shards.mine().fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let total: u64 = shards.all().map(|shard| shard.load(Ordering::Relaxed)).sum();
        assert_eq!(total, 2 * MAX_SHARDS as u64 * 1000);
        let used = shards.all().filter(|shard| shard.load(Ordering::Relaxed) > 0).count();
        assert!(used > 1, "all threads counted in one place");
    }
}
