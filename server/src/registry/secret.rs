//! A password or a token in, the same out only to whom it is for.

/// A password or a token. It has no `Debug` and no `Display`, so that it cannot get into a log or an
/// error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}
