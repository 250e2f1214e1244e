//! What is kept, what goes, and that the bytes are counted as they are.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

type Names = Sieve<u32, u64>;

/// What one value takes that weighs nothing itself.
const EACH: u64 = (PLACE + size_of::<Slot<u32, u64>>()) as u64;

fn put(sieve: &Names, name: u32, value: u64, weight: usize) -> u64 {
    sieve.put(sieve.hash(&name), name, value, weight)
}

fn get(sieve: &Names, name: u32) -> Option<u64> {
    sieve.get(sieve.hash(&name), |key| *key == name, |value| *value)
}

#[test]
fn what_is_put_is_found_and_replaced() {
    let sieve = Names::new(1 << 20);
    assert_eq!(get(&sieve, 1), None);
    put(&sieve, 1, 10, 100);
    put(&sieve, 2, 20, 100);
    put(&sieve, 1, 11, 50);
    assert_eq!((get(&sieve, 1), get(&sieve, 2)), (Some(11), Some(20)));
    assert_eq!((sieve.len(), sieve.bytes()), (2, 150 + 2 * EACH));
    sieve.change(sieve.hash(&1), |key| *key == 1, |value| *value = 12);
    assert_eq!((get(&sieve, 1), get(&sieve, 2)), (Some(12), Some(20)));
}

#[test]
fn there_is_never_more_than_fits() {
    let max = 100 * (EACH + 1_000);
    let sieve = Names::new(max);
    let mut evicted = 0;
    for name in 0..1_000 {
        evicted += put(&sieve, name, 0, 1_000);
        assert!(sieve.bytes() <= max);
    }
    assert_eq!((sieve.len(), evicted), (100, 900));
    // One that has room alone takes the place of all others; one byte more has none.
    put(&sieve, 7, 7, usize::try_from(max - EACH).unwrap());
    assert_eq!((sieve.len(), get(&sieve, 7), sieve.bytes()), (1, Some(7), max));
    put(&sieve, 7, 8, usize::try_from(max - EACH).unwrap() + 1);
    assert_eq!((sieve.len(), get(&sieve, 7), sieve.bytes()), (0, None, 0));
}

#[test]
fn what_is_reserved_for_something_else_is_no_room() {
    let max = 100 * (EACH + 1_000);
    let sieve = Names::new(max);
    for name in 0..200 {
        put(&sieve, name, 0, 1_000);
    }
    sieve.reserve(max / 2);
    // What is there gives way to the next one.
    assert_eq!(sieve.len(), 100);
    put(&sieve, 200, 0, 1_000);
    assert_eq!((sieve.len(), sieve.bytes() <= max / 2), (50, true));
    put(&sieve, 201, 0, usize::try_from(max / 2).unwrap());
    assert_eq!(get(&sieve, 201), None);
    sieve.reserve(0);
    for name in 300..400 {
        put(&sieve, name, 0, 1_000);
    }
    assert_eq!(sieve.len(), 100);
    sieve.reserve(max + 1);
    put(&sieve, 400, 0, 0);
    assert_eq!((sieve.len(), get(&sieve, 400)), (100, None));
}

#[test]
fn what_is_used_outlives_a_flood_of_what_is_used_once() {
    let sieve = Names::new(1_000 * EACH);
    for name in 0..500 {
        put(&sieve, name, 0, 0);
    }
    for name in 1_000..20_000 {
        put(&sieve, name, 0, 0);
        for hot in (name % 10..500).step_by(10) {
            get(&sieve, hot);
        }
    }
    let left = (0..500).filter(|name| get(&sieve, *name).is_some()).count();
    assert!(left >= 490, "{left} of 500");
}

#[test]
fn a_part_of_which_all_was_used_is_passed_over_unless_there_is_no_other() {
    // Each name in a part of its own.
    let hash = |name: u32| u64::from(name) << 40;
    let sieve = Names::new(2 * EACH);
    let put = |name| sieve.put(hash(name), name, 0, 0);
    let get = |name| sieve.get(hash(name), |key| *key == name, |_| ()).is_some();
    assert_eq!([put(0), put(1)], [0, 0]);
    assert!(get(0));
    assert_eq!(put(2), 1);
    assert_eq!([get(0), get(1), get(2)], [true, false, true]);
    // Both were used by now, and one has to go.
    assert_eq!(put(3), 1);
    assert_eq!((sieve.len(), get(3)), (2, true));
}

#[test]
fn values_of_one_hash_are_changed_together_and_found_apart() {
    let sieve = Names::new(1 << 20);
    for name in 0..3 {
        sieve.put(7, name, 0, 0);
    }
    sieve.change(7, |key| *key != 1, |value| *value += 1);
    let found: Vec<_> = (0..3).map(|n| sieve.get(7, |key| *key == n, |v| *v).unwrap()).collect();
    assert_eq!(found, [1, 0, 1]);
}

proptest! {
    /// Whatever is done, a value that is there is the last that was put, and the sums are right.
    #[test]
    fn it_is_a_map_that_forgets(steps in prop::collection::vec((0..40_u32, 0..4_000_usize), 0..400)) {
        let sieve = Names::new(20 * (EACH + 2_000));
        let mut model = HashMap::new();
        for (turn, (name, weight)) in steps.into_iter().enumerate() {
            if weight % 5 == 0 {
                if let Some(value) = get(&sieve, name) {
                    prop_assert_eq!(model.get(&name), Some(&(value, weight_of(&model, name))));
                }
            } else {
                put(&sieve, name, turn as u64, weight);
                model.insert(name, (turn as u64, weight));
            }
            prop_assert!(sieve.bytes() <= sieve.max_bytes);
        }
        let (mut count, mut bytes) = (0, 0);
        sieve.each(|name, value| {
            assert_eq!(model[name].0, *value);
            count += 1;
            bytes += model[name].1 as u64 + EACH;
        });
        prop_assert_eq!((count, bytes), (sieve.len(), sieve.bytes()));
    }
}

#[cfg(test)]
fn weight_of(model: &HashMap<u32, (u64, usize)>, name: u32) -> usize {
    model.get(&name).map_or(0, |(_, weight)| *weight)
}
