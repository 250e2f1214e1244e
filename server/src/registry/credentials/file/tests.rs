//! Files that change, disappear, and come back.

use std::time::Duration;

use super::*;
use crate::clock::SystemClock;

#[derive(Default)]
struct Counted(Mutex<Vec<&'static str>>);

impl Observe for Counted {
    fn on_request(
        &self,
        _: &str,
        _: crate::registry::observe::Route,
        _: crate::registry::observe::Outcome,
        _: Option<Duration>,
    ) {
    }

    fn on_wait(&self, _: &str, _: Duration) {}

    fn on_content(&self, _: bool, _: u64) {}

    fn on_credential(&self, kind: &'static str, outcome: &'static str) {
        assert_eq!(kind, "file");
        self.0.lock().push(outcome);
    }
}

struct Desk {
    folder: tempfile::TempDir,
    counted: Arc<Counted>,
    watched: Watched<Line>,
}

impl Desk {
    fn new(content: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), content).unwrap();
        let counted = Arc::new(Counted::default());
        let observer = Arc::clone(&counted) as Arc<dyn Observe>;
        let watched = Watched::new(folder.path().join("secret"), Arc::new(SystemClock), observer);
        Self { folder, counted, watched }
    }

    fn write(&self, content: &[u8]) {
        fs::write(self.folder.path().join("secret"), content).unwrap();
    }

    async fn text(&self) -> Result<String, CredentialError> {
        self.watched.read().await.map(|line| line.text.expose().to_owned())
    }

    fn failures(&self) -> usize {
        self.counted.0.lock().len()
    }
}

#[tokio::test]
async fn a_file_that_changes_is_read_again() {
    let desk = Desk::new(b"first\n");
    assert_eq!(desk.text().await.unwrap(), "first");
    desk.write(b"other\r\n");
    assert_eq!(desk.text().await.unwrap(), "other");
    // As Kubernetes does it: the folder's link is moved in one step.
    let next = desk.folder.path().join("next");
    fs::write(&next, "third").unwrap();
    fs::rename(&next, desk.folder.path().join("secret")).unwrap();
    assert_eq!(desk.text().await.unwrap(), "third");
    assert_eq!(desk.failures(), 0);
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_one_and_is_counted_once() {
    let desk = Desk::new(b"good");
    assert_eq!(desk.text().await.unwrap(), "good");
    for (nth, bad) in [b"".as_slice(), b"\xff", b"a\nX-Injected: b"].iter().enumerate() {
        desk.write(bad);
        for _ in 0..2 {
            assert_eq!(desk.text().await.unwrap(), "good");
        }
        assert_eq!(desk.failures(), nth + 1);
    }
    fs::remove_file(desk.folder.path().join("secret")).unwrap();
    assert_eq!(desk.text().await.unwrap(), "good");
    desk.write(b"better");
    assert_eq!(desk.text().await.unwrap(), "better");
}

#[tokio::test]
async fn a_file_that_was_never_good_is_an_error_that_does_not_repeat_it() {
    let desk = Desk::new(b"canary\nX-Injected: canary");
    let error = desk.text().await.unwrap_err();
    assert!(matches!(error, CredentialError::Content { .. }));
    assert!(!format!("{error:?} {}", detail(&error)).contains("canary"));
    desk.write(b"");
    assert!(desk.text().await.is_err());
    fs::remove_file(desk.folder.path().join("secret")).unwrap();
    assert!(matches!(desk.text().await, Err(CredentialError::Read { .. })));
}

#[tokio::test]
async fn a_file_is_refused_one_byte_past_its_bound() {
    let desk = Desk::new(&vec![b'x'; MAX_FILE]);
    assert_eq!(desk.text().await.unwrap().len(), MAX_FILE);
    let desk = Desk::new(&vec![b'x'; MAX_FILE + 1]);
    assert!(matches!(desk.text().await, Err(CredentialError::TooLarge { .. })));
}

#[tokio::test]
async fn what_has_expired_is_not_kept() {
    use base64::Engine as _;
    let token = |after: Duration| {
        let end = (OffsetDateTime::now_utc() + after).unix_timestamp();
        let claims = format!("{{\"exp\":{end}}}");
        format!("h.{}.s", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims))
    };
    let desk = Desk::new(token(Duration::from_secs(600)).as_bytes());
    assert!(desk.text().await.is_ok());
    desk.write(b"");
    assert!(desk.text().await.is_ok());
    // An old one is told all the same while it is what the file says: its taker knows the time.
    desk.write(token(Duration::ZERO).as_bytes());
    assert!(desk.text().await.is_ok());
    desk.write(b"");
    assert!(matches!(desk.text().await, Err(CredentialError::Expired { .. })));
}
