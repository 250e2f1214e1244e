//! Files of certificates in, settings of TLS that follow them out: for who serves, and for who asks.
//!
//! ```text
//! files ─ bytes ─ Part: taken when they rest, kept when they are no good ─ Server, Client ─ a handshake
//! ```
//!
//! Nobody is believed by a session from before: each handshake verifies its certificates anew, so that one that
//! was revoked, has expired or lost its authority opens no connection.

mod error;
mod files;
mod part;
mod pair;
mod demand;
mod peer;
mod expiry;
mod fault;
mod server;
mod client;
mod believed;

use std::fmt;
use std::io;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, SupportedProtocolVersion};

pub use tokio_rustls::rustls::pki_types::ServerName;

pub use self::believed::{first_certificate, is_believed};
pub use self::client::{Client, ClientFiles, name};
pub use self::demand::{Demand, MAX_AUTHORITIES, MAX_LISTS, Strangers};
pub use self::error::TlsError;
pub use self::expiry::Due;
pub use self::fault::{Fault, Finder};
pub use self::files::{MAX_FILE, MAX_LIST};
pub use self::pair::{MAX_CHAIN, PairFiles};
pub use self::peer::{MAX_NAMES, Peer, PeerError};
pub use self::server::{Server, ServerFiles};

/// Who says what time it is: validity follows it.
pub type Now = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The system's time.
#[must_use]
pub fn system_time() -> Now {
    Arc::new(OffsetDateTime::now_utc)
}

/// The name of HTTP/2 in a handshake (RFC 7301).
pub const H2: &[u8] = b"h2";
/// The name of HTTP/1.1.
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Oldest {
    /// 1.2: for who cannot do better.
    Tls12,
    /// 1.3.
    #[default]
    Tls13,
}

static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];

impl Oldest {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => &BOTH,
            Self::Tls13 => &NEW,
        }
    }
}

/// The protocols that are spoken in TLS, by their names in a handshake, the best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocols {
    /// The other must name one of them.
    Demanded(Vec<Vec<u8>>),
    /// The other may also name none: HTTP/1.1 was there before these names were.
    Offered(Vec<Vec<u8>>),
}

impl Protocols {
    fn names(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Demanded(names) | Self::Offered(names) => names.clone(),
        }
    }

    /// Whether what came of a handshake will do; rustls lets in who names none.
    fn check(&self, agreed: Option<&[u8]>) -> io::Result<()> {
        match (self, agreed) {
            (Self::Demanded(names), None) if !names.is_empty() => {
                Err(io::Error::other(rustls::Error::NoApplicationProtocol))
            }
            _ => Ok(()),
        }
    }
}

/// What came of looking at files that changed.
#[derive(Debug)]
pub struct Looked {
    /// Which of them: `certificate`, or the `authorities` that others are verified by.
    pub what: &'static str,
    /// Whether what is in them is used from now on; if not, what was there before is.
    pub outcome: Result<(), TlsError>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The time as rustls asks for it.
struct Time(Now);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Time").finish_non_exhaustive()
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from((self.0)().unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

fn wrong(error: rustls::Error) -> TlsError {
    TlsError::Setting(error)
}
