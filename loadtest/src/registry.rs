//! A number of images in, a registry that holds them out, over HTTP: near or far, well or ill.
//!
//! It serves what a decision service asks for: manifests by tag and digest, what is attached to a digest,
//! and blobs. It runs on a thread of its own and counts what it is asked.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_core::signature::sign::SignError;
use portcullis_testkit::TestkitError;
use portcullis_testkit::keys::Authority;
use time::OffsetDateTime;

use self::content::Content;
use self::faults::Manner;
use crate::image::Images;
use crate::process::Cores;

mod content;
pub(crate) mod faults;
mod serve;

pub(crate) use self::content::MAX_FINDINGS;

/// Who signs, and the name of the trust store.
const AUTHORITY: &str = "loadtest";
/// How long ago images were scanned when the registry begins.
const SCANNED_BEFORE: time::Duration = time::Duration::hours(1);

/// Why a registry cannot be made, or cannot answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// It cannot listen.
    #[error("the registry failed to listen")]
    Listen(#[source] io::Error),
    /// Its thread or runtime cannot be made.
    #[error("the registry's thread failed to start")]
    Thread(#[source] io::Error),
    /// Too many findings.
    #[error("{0} findings in a report: at most {MAX_FINDINGS} are made")]
    Findings(u32),
    /// It has no such image.
    #[error("there is no image {0}")]
    NoImage(u32),
    /// A report cannot be signed.
    #[error("a report cannot be signed")]
    Sign(#[from] SignError),
    /// A key or certificate cannot be made.
    #[error("the signer's key cannot be made")]
    Key(#[from] TestkitError),
    /// A time cannot be written.
    #[error("a time cannot be written")]
    Time(#[from] time::error::Format),
}

/// What is in a registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holdings {
    /// Images, at most [`crate::image::MAX_IMAGES`].
    pub(crate) images: u32,
    /// Findings in the report of each, at most [`MAX_FINDINGS`].
    pub(crate) findings: u32,
    /// What everything follows from, but for keys and signatures.
    pub(crate) seed: u64,
}

/// What a registry was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    /// Requests by their kind: `manifest`, `referrers`, `blob` and `other`.
    pub(crate) kinds: BTreeMap<&'static str, u64>,
    /// The same by image, for those that are of one.
    pub(crate) images: HashMap<u32, Requests>,
}

/// The requests for one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// All of them.
    pub(crate) all: u32,
    /// Those for the list of what is attached to the image itself: one for each search.
    pub(crate) searches: u32,
}

impl Counted {
    /// All requests.
    pub(crate) fn total(&self) -> u64 {
        self.kinds.values().sum()
    }
}

struct State {
    content: Content,
    manner: Manner,
    counted: Counted,
    requests: u64,
}

/// A running registry; it ends when it is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    images: Arc<Images>,
    state: Arc<Mutex<State>>,
    authority: Authority,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Registry {
    /// Listens on `address` and serves, on `cores` if they are given.
    ///
    /// # Errors
    /// When it cannot listen, or `holdings` are out of bounds.
    pub(crate) fn start(
        address: SocketAddr,
        holdings: Holdings,
        cores: Option<&Cores>,
    ) -> Result<Self, RegistryError> {
        let listener = std::net::TcpListener::bind(address).map_err(RegistryError::Listen)?;
        listener.set_nonblocking(true).map_err(RegistryError::Listen)?;
        let address = listener.local_addr().map_err(RegistryError::Listen)?;
        let now = OffsetDateTime::now_utc();
        let authority = Authority::new(AUTHORITY, now)?;
        let key = authority.issue("scanner")?.signing_key()?;
        let images = Arc::new(Images::new(&address.to_string(), holdings.images, holdings.seed));
        let scanned_at = now - SCANNED_BEFORE;
        let content = Content::new(Arc::clone(&images), holdings.findings, key, scanned_at)?;
        let state =
            State { content, manner: Manner::default(), counted: Counted::default(), requests: 0 };
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RegistryError::Thread)?;
        let (served, of, cores) = (Arc::clone(&state), Arc::clone(&images), cores.cloned());
        let thread = std::thread::Builder::new().name("registry".to_owned()).spawn(move || {
            if let Some(cores) = cores {
                // Without its core it still serves; whoever pins says so elsewhere.
                let _ = cores.hold_thread();
            }
            runtime.block_on(serve::accept(listener, served, of, stopped));
            // Requests into a black hole end with it.
            runtime.shutdown_timeout(Duration::from_millis(10));
        });
        let thread = thread.map_err(RegistryError::Thread)?;
        Ok(Self { address, images, state, authority, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it holds.
    pub(crate) const fn images(&self) -> &Arc<Images> {
        &self.images
    }

    /// The root certificate that reports are signed under, in PEM.
    pub(crate) fn root_pem(&self) -> String {
        self.authority.root_pem()
    }

    /// A trust policy as notation has it, for the store [`Self::store`].
    pub(crate) fn trust_policy(&self) -> Result<String, RegistryError> {
        Ok(self.authority.trust_policy_json("*", AUTHORITY)?)
    }

    /// The name of the trust store.
    pub(crate) const fn store() -> &'static str {
        AUTHORITY
    }

    /// Changes its ways.
    pub(crate) fn behave(&self, manner: Manner) {
        self.state.lock().manner = manner;
    }

    /// Scans all images again: each has another report from now on.
    pub(crate) fn scan_all(&self) {
        let mut state = self.state.lock();
        (0..self.images.count()).for_each(|index| state.content.scan(index));
    }

    /// What it was asked since this was called before.
    pub(crate) fn take_counted(&self) -> Counted {
        std::mem::take(&mut self.state.lock().counted)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic there was told by the panic itself.
            let _ = thread.join();
        }
    }
}
