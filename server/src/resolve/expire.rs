//! A reference that may name something else by now in, a question for the registry out.

use std::sync::Arc;

use portcullis_core::image::{Digest, Reference};

use super::{Key, Resolver};
use crate::evidence::store::StoreKey;

impl Resolver {
    /// Takes what `image` named as no longer known to be so, in memory and on disk: the next question asks
    /// the registry, and what is being found out now is not kept. If the registry cannot be asked, it is
    /// used on as stale. Gives what it was.
    pub fn expire(&self, image: &Reference, access: &Arc<str>) -> Option<Digest> {
        let image = image.digest().map_or_else(|| image.clone(), |digest| image.at(digest));
        let key = Key { access: Arc::clone(access), image };
        let is = |other: &Key| *other == key;
        self.0.store.doubt(StoreKey::name(&key.image, access), self.0.clock.now());
        let mut named = None;
        self.0.flights.supersede(&key, is, || {
            self.0.kept.change(self.0.kept.hash(&key), is, |entry| {
                named = entry.plan.fresh.answer.as_ref().ok().map(|resolved| resolved.digest);
                entry.expire(self.0.clock.now());
            });
        });
        named
    }
}
