//! Reports in, the bytes in which they are told of out, made once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{Report, Reports};

/// The room that is counted for what is told of a report, in bytes beside its texts.
const TOLD_PER_REPORT: usize = 160;

/// The bytes in which reports are told of, in whatever form. A copy begins without them, and they make no
/// difference between two.
#[derive(Default)]
pub(super) struct Told(OnceLock<Box<[u8]>>);

impl Clone for Told {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Told {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Reports {
    /// What `write` writes of the reports, which stay what they are: it is asked once, and its bytes are
    /// kept. There is one form for all who ask.
    #[must_use]
    pub fn told(&self, write: impl FnOnce(&Self) -> Box<[u8]>) -> &[u8] {
        self.told.0.get_or_init(|| write(self))
    }

    /// The room that is counted for [`Self::told`], in bytes.
    #[must_use]
    pub fn told_room(&self) -> usize {
        let texts = |r: &Arc<Report>| r.signer.subject.len() + r.findings.scanner.name.len();
        self.list.iter().map(|report| TOLD_PER_REPORT + texts(report)).sum()
    }
}
