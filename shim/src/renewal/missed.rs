//! Configurations that cannot be looked after while others are: counted at each look, said at the first.

use std::collections::BTreeMap;

use super::error::RenewalError;
use super::objects::Object;
use crate::metrics::Metrics;

/// Those of the last look, and why.
#[derive(Debug, Default)]
pub(super) struct Missed(BTreeMap<Object, &'static str>);

impl Missed {
    /// Counts those of a look, and says what is new of them.
    pub(super) fn tell(&mut self, errors: &[RenewalError], metrics: &Metrics) {
        let mut missed = BTreeMap::new();
        for error in errors {
            let cause = error.as_str();
            metrics.renewal_failed(cause);
            let Some(object) = error.missed() else { continue };
            if self.0.get(object) != Some(&cause) {
                let error = crate::chain(error);
                tracing::error!(
                    error,
                    "a webhook's configuration is not looked after; the others are"
                );
            }
            missed.insert(object.clone(), cause);
        }
        for object in self.0.keys().filter(|object| !missed.contains_key(object)) {
            tracing::info!(%object, "a webhook's configuration is looked after again");
        }
        self.0 = missed;
    }

    /// Which they are.
    #[cfg(test)]
    pub(super) fn objects(&self) -> Vec<&Object> {
        self.0.keys().collect()
    }
}
