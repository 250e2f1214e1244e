//! What was found out about reports, kept beside them, so that the next question costs less.
//!
//! It is an answer to "what is in these reports, in the words of this policy, from this time to that":
//! all that it was read from is its key, and it goes when the reports go. Which rules are violated is
//! not kept.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use time::OffsetDateTime;

/// A value that is kept and can be made anew. A copy of what it stands beside begins without it, and
/// it makes no difference between two.
pub(crate) struct Memo<T>(ArcSwapOption<T>);

impl<T> Memo<T> {
    /// The kept value if it `fits`, or a new one, which is kept instead. Two that ask at once may
    /// both make one.
    pub(super) fn get_or_make(
        &self,
        fits: impl FnOnce(&T) -> bool,
        make: impl FnOnce(Option<&T>) -> T,
    ) -> Arc<T> {
        let kept = self.0.load();
        if let Some(kept) = kept.as_ref().filter(|kept| fits(kept)) {
            return Arc::clone(kept);
        }
        let made = Arc::new(make(kept.as_deref()));
        self.0.store(Some(Arc::clone(&made)));
        made
    }

    /// What `read` finds in the kept value, if it finds something: without a copy of all of it.
    pub(super) fn read<R>(&self, read: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        self.0.load().as_deref().and_then(read)
    }

    /// Keeps what is made from the kept value, instead of it. Of two at once one may be lost.
    pub(super) fn replace(&self, make: impl FnOnce(Option<&T>) -> T) {
        let made = make(self.0.load().as_deref());
        self.0.store(Some(Arc::new(made)));
    }
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(ArcSwapOption::empty())
    }
}

impl<T> Clone for Memo<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> PartialEq for Memo<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> fmt::Debug for Memo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

/// The time in which something that depends on the clock stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Term {
    /// The first instant; `None` if it always was so.
    from: Option<OffsetDateTime>,
    /// The first instant at which it could be otherwise; `None` if it stays so.
    pub(super) until: Option<OffsetDateTime>,
}

impl Term {
    /// Cuts it to the time between two instants at which something changes.
    pub(super) fn cut(&mut self, now: OffsetDateTime, change: OffsetDateTime) {
        if change > now {
            self.until = Some(self.until.map_or(change, |until| until.min(change)));
        } else {
            self.from = Some(self.from.map_or(change, |from| from.max(change)));
        }
    }

    pub(super) fn holds(&self, now: OffsetDateTime) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_value_is_given_while_it_fits() {
        let memo = Memo::default();
        assert_eq!(*memo.get_or_make(|_| true, |_| 1), 1);
        assert_eq!(*memo.get_or_make(|kept| *kept == 1, |_| 2), 1);
        assert_eq!(*memo.get_or_make(|kept| *kept == 9, |kept| kept.unwrap() + 2), 3);
        assert_eq!(memo.read(|kept| Some(*kept)), Some(3));
        assert_eq!(memo.read(|kept| (*kept != 3).then_some(())), None);
        memo.replace(|kept| kept.unwrap() + 1);
        let copy = memo.clone();
        assert_eq!(copy.read(|kept| Some(*kept)), None);
        copy.replace(|kept| kept.copied().unwrap_or(9));
        assert_eq!(
            (copy.read(|kept| Some(*kept)), memo.read(|kept| Some(*kept))),
            (Some(9), Some(4))
        );
    }

    #[test]
    fn a_term_ends_where_the_next_change_is_and_begins_at_the_last() {
        let at = |seconds: i64| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
        let mut term = Term::default();
        assert!(term.holds(at(-100)) && term.holds(at(100)));
        [at(5), at(-7), at(-3), at(9)].into_iter().for_each(|change| term.cut(at(0), change));
        assert!(term.holds(at(-3)) && term.holds(at(4)));
        assert!(!term.holds(at(-4)) && !term.holds(at(5)));
    }
}
