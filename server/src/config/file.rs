//! A path in, the bytes of a file out, if they are not too many.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::{ConfigError, MAX_CONFIG};

/// Reads the file of a field; `field` says of what, too.
///
/// # Errors
/// As [`read`], and the error names the field.
pub(super) fn read_of(field: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    read(path)
        .map_err(|source| ConfigError::File { field: field.to_owned(), source: Box::new(source) })
}

/// Reads a file of at most [`MAX_CONFIG`] bytes.
///
/// # Errors
/// When it cannot be read, or is larger.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    // No more is read than is needed to see that it is too much.
    let length = file.metadata().map_err(failed)?.len();
    file.take(MAX_CONFIG as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_CONFIG {
        // What is no plain file has no length of its own.
        let length = length.max(bytes.len() as u64);
        return Err(ConfigError::TooLarge { path: path.to_owned(), length });
    }
    Ok(bytes)
}
