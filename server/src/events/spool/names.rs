//! What was known of a manifest in, what a segment calls it out.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use portcullis_core::event::frame;
use portcullis_core::event::stored;
use portcullis_core::evidence::Evidence;

use super::kind;

/// How many names a segment has at a time for what was known. When there are more, all are given anew.
const MAX_NAMES: usize = 65_536;

/// The names of one segment.
#[derive(Default)]
pub(super) struct Names {
    /// By address, which is not given to another while there is a weak reference.
    known: HashMap<usize, Name, RandomState>,
    next: u32,
}

struct Name {
    _of: Weak<Evidence>,
    name: u32,
    /// The epoch in which all that it names was written.
    written: Option<u64>,
}

impl Names {
    /// The name of `evidence`, which is written to `out` if it is new; and whether all that it names was
    /// written in this `epoch`.
    pub(super) fn name(
        &mut self,
        evidence: &Arc<Evidence>,
        epoch: u64,
        out: &mut Vec<u8>,
    ) -> (u32, bool) {
        let address = Arc::as_ptr(evidence).addr();
        if let Some(known) = self.known.get(&address) {
            return (known.name, known.written == Some(epoch));
        }
        if self.known.len() >= MAX_NAMES {
            self.known.clear();
        }
        let name = self.next;
        self.next = name.wrapping_add(1);
        frame::push(out, kind::KNOWN, name.into(), &stored::known(evidence));
        self.known.insert(address, Name { _of: Arc::downgrade(evidence), name, written: None });
        (name, false)
    }

    /// All that `evidence` names is written in this `epoch`.
    pub(super) fn written(&mut self, evidence: &Arc<Evidence>, epoch: u64) {
        if let Some(known) = self.known.get_mut(&Arc::as_ptr(evidence).addr()) {
            known.written = Some(epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_in_one_epoch_may_be_gone_in_the_next() {
        let (mut names, mut out) = (Names::default(), Vec::new());
        let [one, other] = [Evidence::Missing, Evidence::Withheld].map(Arc::new);
        assert_eq!(names.name(&one, 1, &mut out), (0, false));
        names.written(&one, 1);
        assert_eq!(names.name(&other, 1, &mut out), (1, false));
        let length = out.len();
        assert_eq!(names.name(&one, 1, &mut out), (0, true));
        assert_eq!(names.name(&one, 2, &mut out), (0, false));
        // A name is written once.
        assert_eq!(out.len(), length);
    }

    #[test]
    fn one_name_past_the_bound_begins_anew() {
        let (mut names, mut out) = (Names::default(), Vec::new());
        let all: Vec<_> = (0..MAX_NAMES).map(|_| Arc::new(Evidence::Missing)).collect();
        for one in &all {
            names.name(one, 0, &mut out);
        }
        assert_eq!(names.known.len(), MAX_NAMES);
        names.name(&Arc::new(Evidence::Missing), 0, &mut out);
        assert_eq!(names.known.len(), 1);
        // A name is never another's in the same segment.
        assert_eq!(names.name(&all[0], 0, &mut out).0 as usize, MAX_NAMES + 1);
    }
}
