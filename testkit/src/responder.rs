//! Certificates in, what their issuer says of them out, over HTTP on loopback: an OCSP responder and
//! a place for revocation lists, as good or as bad as they are told.
//!
//! OCSP is that of RFC 6960 at [`Responder::ocsp_url`]; lists are under [`Responder::crl_url`] and
//! [`Responder::delta_url`].

mod list;
mod ocsp;
mod serve;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::TestkitError;

pub use list::{Entry, List};
pub use ocsp::{Delegate, OcspAnswer, Standing};

/// What is sent for a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These bytes, with status 200.
    Bytes(Vec<u8>),
    /// Nothing, with this status.
    Status(u16),
    /// A redirection to this URL.
    Redirect(String),
    /// Nothing ever.
    Hang,
}

type Answering = dyn Fn(&[u8]) -> Reply + Send + Sync;

/// An OCSP responder with lists, listening on a free port of 127.0.0.1. It ends, with all its
/// connections, when it is dropped. It has nothing (404) until it is told.
pub struct Responder {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<BTreeMap<&'static str, Arc<Answering>>>,
    requests: Mutex<Vec<String>>,
}

const OCSP: &str = "/ocsp";
const CRL: &str = "/complete.crl";
const DELTA: &str = "/delta.crl";

impl Responder {
    /// Starts one.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start() -> Result<Self, TestkitError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(TestkitError::Listen)?;
        let address = listener.local_addr().map_err(TestkitError::Listen)?;
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve::accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    /// Its host and port.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Where it answers OCSP.
    #[must_use]
    pub fn ocsp_url(&self) -> String {
        format!("http://{}{OCSP}", self.address)
    }

    /// Where it has the complete list.
    #[must_use]
    pub fn crl_url(&self) -> String {
        format!("http://{}{CRL}", self.address)
    }

    /// Where it has the list of changes.
    #[must_use]
    pub fn delta_url(&self) -> String {
        format!("http://{}{DELTA}", self.address)
    }

    /// Answers OCSP requests (in DER) so from now on.
    pub fn ocsp(&self, answer: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) {
        self.shared.replies.lock().insert(OCSP, Arc::new(answer));
    }

    /// Has this for the complete list from now on.
    pub fn crl(&self, reply: Reply) {
        self.shared.replies.lock().insert(CRL, Arc::new(move |_| reply.clone()));
    }

    /// Has this for the list of changes from now on.
    pub fn delta(&self, reply: Reply) {
        self.shared.replies.lock().insert(DELTA, Arc::new(move |_| reply.clone()));
    }

    /// The methods and paths of all requests so far: `POST /ocsp`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[cfg(test)]
mod tests;
