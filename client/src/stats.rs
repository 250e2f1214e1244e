//! What a client did so far, as plain numbers that its user may show.

use std::net::SocketAddr;

/// What was done, and how the replicas are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Questions that were asked of a second replica.
    pub retries: u64,
    /// Questions that were not, because too many had been of late, or no time was left.
    pub retries_withheld: u64,
    /// The replicas.
    pub replicas: Vec<ReplicaStats>,
    /// The near cache, if there is one.
    pub near: Option<NearStats>,
    /// The files of TLS, where the service is asked in TLS.
    pub tls: Option<TlsStats>,
}

/// What was done with the files of TLS, and how long the certificate is good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsStats {
    /// From when until when the certificate of who asks is valid, in seconds since 1970, where there is one.
    pub certificate: Option<(i64, i64)>,
    /// Changes of the files that are used.
    pub taken: u64,
    /// Changes that cannot be: what was there before is.
    pub kept: u64,
}

/// How a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStats {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it is asked.
    pub standing: Standing,
    /// Calls under way.
    pub in_flight: usize,
    /// Calls that were begun.
    pub calls: u64,
    /// Calls that it failed to answer.
    pub failures: u64,
    /// How often it was left alone for failing too often.
    pub ejections: u64,
}

/// Whether a replica is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Ready,
    /// Only if no other is ready: it failed too often of late, or says that it is at its limit.
    Avoided,
    /// It is not: it cannot be reached, or says that it does not serve.
    Down,
}

/// What a near cache did, and what it keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NearStats {
    /// Questions that were answered from it.
    pub hits: u64,
    /// Questions that were not, among them those that it may not answer.
    pub misses: u64,
    /// Answers that were dropped because what they are from changed.
    pub dropped: u64,
    /// Answers that were dropped to make room.
    pub evicted: u64,
    /// Answers that are kept.
    pub entries: usize,
    /// What they hold, in bytes.
    pub bytes: usize,
}
