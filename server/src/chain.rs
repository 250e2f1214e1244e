//! An error in, one line of it and of all that is behind it out.

use std::error::Error;

use portcullis_core::decide::printable;

/// The longest text of an error that is kept or told, in bytes: parts of it are foreign.
const MAX_DETAIL: usize = 1024;

/// An error and all that is behind it, in one bounded line for people.
pub(crate) fn detail(error: &dyn Error) -> String {
    printable(&chain(error), MAX_DETAIL)
}

/// An error and all that is behind it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_are_cut_and_forge_no_line() {
        let key = "k".repeat(10 * MAX_DETAIL) + "\n2026-11-21 INFO decision";
        let error = serde_json::from_str::<bool>(&format!("\"{key}\"")).unwrap_err();
        assert!(detail(&error).len() <= MAX_DETAIL);
        let error = std::io::Error::other("one\ntwo");
        assert!(!detail(&error).contains('\n'), "{}", detail(&error));
        assert_eq!(chain(&error), "one\ntwo");
    }
}
