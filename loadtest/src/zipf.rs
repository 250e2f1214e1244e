//! A number of things and an exponent in, draws out of which the first are the most frequent.

/// Draws by Zipf's law in constant time (the alias method of Walker and Vose).
pub(crate) struct Zipf {
    /// For each thing: the part of its share that is its own, and who has the rest.
    shares: Vec<(f64, u32)>,
}

impl Zipf {
    /// The thing at position k is drawn in proportion to 1 / (k + 1)^s; all alike for an `s` of 0.
    /// `count` is at least 1.
    pub(crate) fn new(count: u32, s: f64) -> Self {
        let weights = (1..=count.max(1)).map(|rank| f64::from(rank).powf(-s));
        let sum: f64 = weights.clone().sum();
        let mean = f64::from(count.max(1)) / sum;
        let mut shares: Vec<_> = (0..count.max(1)).zip(weights.map(|w| w * mean)).collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) = shares.iter().partition(|(_, w)| *w < 1.0);
        let mut table: Vec<_> = shares.drain(..).map(|(own, _)| (1.0, own)).collect();
        while let (Some((less, weight)), Some((more, surplus))) = (small.pop(), large.pop()) {
            if let Some(share) = usize::try_from(less).ok().and_then(|at| table.get_mut(at)) {
                *share = (weight, more);
            }
            // What fills the share of the small one is taken from the large one.
            let left = surplus - (1.0 - weight);
            if left < 1.0 { small.push((more, left)) } else { large.push((more, left)) }
        }
        Self { shares: table }
    }

    /// The position of one thing.
    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> u32 {
        let at = random.usize(..self.shares.len());
        let own = u32::try_from(at).unwrap_or_default();
        match self.shares.get(at) {
            Some((share, other)) if random.f64() >= *share => *other,
            _ => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: u32, s: f64) {
        const DRAWS: u32 = 400_000;
        let (zipf, mut random) = (Zipf::new(count, s), fastrand::Rng::with_seed(7));
        let mut seen = vec![0_u32; usize::try_from(count).unwrap()];
        (0..DRAWS).for_each(|_| seen[usize::try_from(zipf.draw(&mut random)).unwrap()] += 1);
        let weight = |rank: u32| f64::from(rank + 1).powf(-s);
        let sum: f64 = (0..count).map(weight).sum();
        for (rank, seen) in (0..count).zip(seen) {
            let expected = f64::from(DRAWS) * weight(rank) / sum;
            // Five standard deviations of a count.
            let off = (f64::from(seen) - expected).abs();
            assert!(off <= 5.0 * expected.sqrt() + 1.0, "{rank} of {count}: {seen}, {expected}");
        }
    }

    #[test]
    fn draws_follow_the_law() {
        check(1, 1.0);
        check(2, 1.0);
        check(100, 1.0);
        check(100, 0.0);
        check(1_000, 1.3);
    }
}
