//! Random choices in, a value made of them out: what fails is made simpler choice by choice.
//!
//! A tree of proptest's strategies costs more than a decision. Here a seed is all that a case is made
//! of, and only one that fails is made again from a list of its choices: without some of them, or
//! with lower ones. The lowest choice is always the simplest.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::TestRunner;

/// Where random values draw their choices.
#[derive(Debug, Clone)]
pub(super) struct Draws {
    state: u64,
    /// Choices that were drawn before; past their end, the lowest is drawn.
    again: Option<Vec<u32>>,
    drawn: Vec<u32>,
}

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, again: None, drawn: Vec::new() }
    }

    fn again(choices: Vec<u32>) -> Self {
        Self { state: 0, again: Some(choices), drawn: Vec::new() }
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u32::try_from(end).unwrap();
        let choice = match &self.again {
            Some(choices) => choices.get(self.drawn.len()).copied().unwrap_or_default() % end,
            None => self.next() % end,
        };
        self.drawn.push(choice);
        choice as usize
    }

    /// The next number of SplitMix64.
    fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from(z >> 32).unwrap()
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub(super) fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())].clone()
    }

    /// A value once in `times`.
    pub(super) fn maybe<T>(
        &mut self,
        times: usize,
        value: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        self.one_in(times).then(|| value(self))
    }

    /// At most `max` values; after each there is another with `more` to one.
    pub(super) fn list<T>(
        &mut self,
        max: usize,
        more: usize,
        mut value: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let mut values = Vec::new();
        while values.len() < max && self.below(more + 1) > 0 {
            values.push(value(self));
        }
        values
    }

    /// One to three of `among`, which may repeat.
    pub(super) fn some<T: Clone>(&mut self, among: &[T]) -> Vec<T> {
        let mut values = vec![self.pick(among)];
        values.extend(self.list(2, 1, |draws| draws.pick(among)));
        values
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, place - self.below(place + 1));
        }
    }
}

/// The values that a function makes of choices.
#[derive(Debug, Clone)]
pub(super) struct Random<T>(pub(super) fn(&mut Draws) -> T);

impl<T: Debug + 'static> Strategy for Random<T> {
    type Tree = Tree<T>;
    type Value = T;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        Ok(Tree {
            make: self.0,
            current: Draws::new(runner.rng().next_u64()),
            failing: Vec::new(),
            edit: (0, 0),
            progress: false,
        })
    }
}

/// A value, and what is simpler.
pub(super) struct Tree<T> {
    make: fn(&mut Draws) -> T,
    current: Draws,
    /// The simplest choices that failed.
    failing: Vec<u32>,
    /// Which edit comes next, and where.
    edit: (usize, usize),
    /// Whether any edit of this round made it simpler.
    progress: bool,
}

/// The most choices that are left out at once, and the other edits after these.
const MAX_LEFT_OUT: usize = 64;
const OTHER_EDITS: usize = 3;

/// Simpler choices by one edit at one place; `None` if they are as they were.
fn simpler(choices: &[u32], edit: usize, at: usize) -> Option<Vec<u32>> {
    if let Some(left_out) = MAX_LEFT_OUT.checked_sub(edit).filter(|n| *n > 0) {
        let rest = choices.get(at + left_out..)?;
        return Some([&choices[..at], rest].concat());
    }
    let choice = match edit - MAX_LEFT_OUT {
        0 => 0,
        1 => choices[at] / 2,
        _ => choices[at].saturating_sub(1),
    };
    let mut simpler = choices.to_vec();
    simpler[at] = choice;
    (choice != choices[at]).then_some(simpler)
}

impl<T> Tree<T> {
    /// Makes the next simpler list of choices the current one; `false` when there is none.
    fn next(&mut self) -> bool {
        loop {
            let (edit, at) = self.edit;
            if edit == MAX_LEFT_OUT + OTHER_EDITS {
                if !std::mem::take(&mut self.progress) {
                    self.current = Draws::again(self.failing.clone());
                    return false;
                }
                self.edit = (0, 0);
            } else if at >= self.failing.len() {
                self.edit = (edit + 1, 0);
            } else {
                self.edit.1 += 1;
                if let Some(simpler) = simpler(&self.failing, edit, at) {
                    self.current = Draws::again(simpler);
                    return true;
                }
            }
        }
    }
}

impl<T: Debug> ValueTree for Tree<T> {
    type Value = T;

    fn current(&self) -> T {
        (self.make)(&mut self.current.clone())
    }

    fn simplify(&mut self) -> bool {
        self.progress |= !self.failing.is_empty();
        // The place of the edit that failed holds something else now.
        self.edit.1 = self.edit.1.saturating_sub(1);
        (self.make)(&mut self.current);
        self.failing = std::mem::take(&mut self.current.drawn);
        while self.failing.last() == Some(&0) {
            self.failing.pop();
        }
        self.next()
    }

    fn complicate(&mut self) -> bool {
        self.next()
    }
}
