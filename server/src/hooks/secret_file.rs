//! A file with a secret in, whether somebody knows it out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_core::image::Digest;
use tokio::time::Instant;

use crate::chain::detail;

/// The largest file, in bytes.
pub const MAX_FILE: usize = 16 * 1024;
/// The most secrets in one file: two while one takes the place of another, and some to spare.
pub const MAX_SECRETS: usize = 4;
/// For how long what was read is used without looking again.
const INTERVAL: Duration = Duration::from_secs(5);

/// Why a file is not one of secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds none, or too much.
    #[error(
        "`{}` holds no secret that can be used: expected text of at most {MAX_FILE} bytes, with one \
         secret a line and {MAX_SECRETS} at the most", path.display()
    )]
    Unusable {
        /// Which.
        path: PathBuf,
    },
}

/// Secrets, one a line, of which each is as good as the others. The file is read again when it is
/// needed and some seconds have passed; one that cannot be read then leaves what was there.
#[derive(Clone)]
pub struct SecretFile {
    path: PathBuf,
    read: Arc<Mutex<Read>>,
}

/// The hashes of the secrets: two hashes take the same time to compare, whatever they are of.
struct Read {
    at: Instant,
    hashes: Vec<Digest>,
}

impl SecretFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub fn open(path: &Path) -> Result<Self, SecretFileError> {
        let read = Read { at: Instant::now(), hashes: hashes(path)? };
        Ok(Self { path: path.to_owned(), read: Arc::new(Mutex::new(read)) })
    }

    /// Whether `given` is one of the secrets.
    pub async fn knows(&self, given: &[u8]) -> bool {
        self.look_again().await;
        let given = Digest::of(given);
        let read = self.read.lock();
        // All are compared, so that the time tells nothing of which.
        read.hashes.iter().fold(false, |known, hash| {
            known
                | (aws_lc_rs::constant_time::verify_slices_are_equal(
                    hash.as_bytes(),
                    given.as_bytes(),
                )
                .is_ok())
        })
    }

    async fn look_again(&self) {
        {
            let mut read = self.read.lock();
            if read.at.elapsed() < INTERVAL {
                return;
            }
            read.at = Instant::now();
        }
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || hashes(&path)).await {
            Ok(Ok(hashes)) => self.read.lock().hashes = hashes,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = detail(&error),
                    "a secret of registry events stays as it was"
                );
            }
            Err(error) => tracing::error!(%error, "a file of secrets could not be read"),
        }
    }
}

fn hashes(path: &Path) -> Result<Vec<Digest>, SecretFileError> {
    use std::io::Read as _;
    let failed = |source| SecretFileError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let hashes: Vec<_> = lines.filter(|line| !line.is_empty()).map(Digest::of).collect();
    if text.len() > MAX_FILE || hashes.is_empty() || hashes.len() > MAX_SECRETS {
        return Err(SecretFileError::Unusable { path: path.to_owned() });
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_line_is_a_secret_and_a_new_one_needs_no_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "one\n two \n\n").unwrap();
        let file = SecretFile::open(&path).unwrap();
        assert!(file.knows(b"one").await && file.knows(b"two").await);
        for other in ["", "on", "onee", "one\n", "ONE", "one\n two \n\n"] {
            assert!(!file.knows(other.as_bytes()).await, "{other:?}");
        }
        std::fs::write(&path, "three").unwrap();
        assert!(file.knows(b"one").await);
        tokio::time::advance(INTERVAL).await;
        assert!(!file.knows(b"one").await && file.knows(b"three").await);
        // What cannot be read changes nothing.
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(INTERVAL).await;
        assert!(file.knows(b"three").await);
    }

    #[test]
    fn a_file_without_a_secret_or_past_its_bounds_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let open = |text: &str| {
            std::fs::write(&path, text).unwrap();
            SecretFile::open(&path).is_ok()
        };
        assert!(!open("") && !open("\n \n"));
        assert!(open(&"x\n".repeat(MAX_SECRETS)) && !open(&"x\n".repeat(MAX_SECRETS + 1)));
        assert!(open(&"x".repeat(MAX_FILE)) && !open(&"x".repeat(MAX_FILE + 1)));
        assert!(SecretFile::open(&folder.path().join("none")).is_err());
    }
}
