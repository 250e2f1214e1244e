//! Who takes and gives back in, how much each has out.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// How much each of those has that have something.
#[derive(Debug)]
pub(crate) struct Shares<K>(HashMap<K, usize>);

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Shares<K> {
    /// How much `key` has.
    pub(crate) fn of<Q>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Gives one more to `key`.
    pub(crate) fn take<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        self.add(key, 1);
    }

    /// Gives `more` to `key`.
    pub(crate) fn add<Q>(&mut self, key: &Q, more: usize)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        match self.0.get_mut(key) {
            Some(count) => *count += more,
            None => drop(self.0.insert(key.to_owned(), more)),
        }
    }

    /// Takes one back.
    pub(crate) fn give_back<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.take_back(key, 1);
    }

    /// Takes so `many` back. Who has none is not remembered, so that no more is kept than was taken.
    pub(crate) fn take_back<Q>(&mut self, key: &Q, many: usize)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(count) = self.0.get_mut(key) {
            *count = count.saturating_sub(many);
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }

    /// How many have something.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
