//! A verified certificate in, for whom its holder may speak out.
//!
//! What a client says of itself in a question counts only as far as its certificate bears it out: the cluster
//! that a question is about, and its cloud and account where they are configured, are those of the certificate.

mod name;
pub(crate) mod silence;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use portcullis_core::decide::{Context, printable};
use portcullis_tls::Peer;

pub use self::name::{MAX_NAME, Name, NameError};
use crate::caller::Caller;

/// The most operators that may be configured.
pub const MAX_OPERATORS: usize = 1_000;
/// The most names of one cluster or operator.
pub const MAX_NAMES: usize = 16;
/// How much of the names of a certificate is repeated to its holder, in bytes.
const MAX_SHOWN: usize = 256;

/// Where a cluster is, as far as it is configured: empty fields are as its questions say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The name of the cluster.
    pub cluster: String,
    /// Cloud provider.
    pub provider: String,
    /// Subscription, account or project: whose cluster it is.
    pub account: String,
    /// Region.
    pub region: String,
}

/// What a client may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Ask for one cluster, and watch.
    Cluster(Place),
    /// Look at what is known.
    Reader,
    /// The same, change what is known and in force, and ask for any cluster.
    Writer,
}

/// Who may speak for whom.
#[derive(Debug, Clone, Default)]
pub struct Identities(BTreeMap<Name, Arc<Known>>);

#[derive(Debug)]
struct Known {
    /// Its place among all.
    number: u32,
    role: Role,
    /// How many connections it has.
    connections: AtomicUsize,
    /// Whether it asked anything since somebody looked.
    asked: AtomicBool,
}

/// One connection of somebody who is known, for as long as it is there.
#[derive(Debug)]
struct Present(Arc<Known>);

impl Present {
    fn new(known: &Arc<Known>) -> Self {
        known.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(known))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A name is given twice.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is given twice: one certificate speaks for one cluster, or one operator")]
pub struct Twice(pub Name);

impl Identities {
    /// Whoever has one of the names has the role beside them.
    ///
    /// # Errors
    /// When a name is there twice.
    pub fn new(all: impl IntoIterator<Item = (Vec<Name>, Role)>) -> Result<Self, Twice> {
        let mut known = BTreeMap::new();
        for (number, (names, role)) in (0..).zip(all) {
            let (connections, asked) = (AtomicUsize::new(0), AtomicBool::new(false));
            let one = Arc::new(Known { number, role, connections, asked });
            for name in names {
                if known.insert(name.clone(), Arc::clone(&one)).is_some() {
                    return Err(Twice(name));
                }
            }
        }
        Ok(Self(known))
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who asks from `caller` with the certificate of `peer`.
    #[must_use]
    pub fn who(&self, caller: Caller, peer: &Peer) -> Who {
        match self.known(peer) {
            Ok(known) => Who {
                caller: Caller::identity(known.number),
                standing: Standing::Known(Arc::new(Present::new(known))),
            },
            Err(why) => Who { caller, standing: Standing::Stranger(why.into()) },
        }
    }

    /// By its SPIFFE ID alone where it has one, and by its DNS names otherwise.
    fn known(&self, peer: &Peer) -> Result<&Arc<Known>, String> {
        let Peer { spiffe, dns, until: _ } = peer;
        match (spiffe.as_slice(), dns.as_slice()) {
            ([], []) => {
                Err("your certificate has no SPIFFE ID and no DNS name: ask with one that has"
                    .to_owned())
            }
            ([id], _) => self.0.get(&Name::Spiffe(id.clone())).ok_or_else(|| unknown(id)),
            ([], names) => {
                let found = names.iter().filter_map(|name| self.0.get(&Name::Dns(name.clone())));
                let mut found: Vec<_> = found.collect();
                found.dedup_by_key(|known| known.number);
                match found.as_slice() {
                    [one] => Ok(*one),
                    [] => Err(unknown(&names.join(", "))),
                    _ => Err(format!(
                        "your certificate has the names of several clusters or operators, `{}`: ask with one that \
                         has the names of one",
                        printable(&names.join(", "), MAX_SHOWN)
                    )),
                }
            }
            (ids, _) => Err(format!(
                "your certificate has {} SPIFFE IDs, and may have one: ask with one that has",
                ids.len()
            )),
        }
    }
}

fn unknown(names: &str) -> String {
    format!(
        "nobody in the service's configuration is called `{}`, as your certificate says you are: add the name to \
         `identities` of a cluster or an operator there",
        printable(names, MAX_SHOWN)
    )
}

/// Who asks on one connection.
#[derive(Debug, Clone, Default)]
pub struct Who {
    caller: Caller,
    standing: Standing,
}

#[derive(Debug, Clone, Default)]
enum Standing {
    /// Nobody is asked who they are.
    #[default]
    Open,
    Known(Arc<Present>),
    /// With a certificate that says nothing to us, and why.
    Stranger(Arc<str>),
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody knows who asks.
    #[error("{0}")]
    Stranger(Arc<str>),
    /// Who asks may not.
    #[error("{0}")]
    Role(&'static str),
    /// The question is about somewhere else.
    #[error("`{field}` is `{asked}`, and your certificate speaks for `{own}`: leave it out")]
    Elsewhere {
        /// Which field.
        field: &'static str,
        /// As asked.
        asked: String,
        /// As configured.
        own: String,
    },
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing: health and reflection.
    Nothing,
    /// To speak for a cluster.
    Ask,
    Read,
    Write,
}

impl Need {
    /// What is new and in no list is for writers.
    fn of(path: &str) -> Self {
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
        else {
            return Self::Nothing;
        };
        let is_read =
            || ["Get", "List", "Tail", "Watch", "Simulate"].iter().any(|w| method.starts_with(w));
        match service {
            "portcullis.v1.DecisionService" => Self::Ask,
            "grpc.health.v1.Health" | "grpc.reflection.v1.ServerReflection" => Self::Nothing,
            _ if is_read() => Self::Read,
            _ => Self::Write,
        }
    }
}

impl Who {
    /// Somebody of whom no certificate is demanded.
    #[must_use]
    pub const fn open(caller: Caller) -> Self {
        Self { caller, standing: Standing::Open }
    }

    /// Whose share it takes.
    #[must_use]
    pub const fn caller(&self) -> Caller {
        self.caller
    }

    /// Whether it may call what is at `path`.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub fn may(&self, path: &str) -> Result<(), Refusal> {
        match &self.standing {
            Standing::Open => Ok(()),
            Standing::Stranger(why) => Err(Refusal::Stranger(Arc::clone(why))),
            Standing::Known(present) => present.0.role.may(Need::of(path)),
        }
    }

    /// Makes a question's context that of whoever asks it.
    ///
    /// # Errors
    /// When it says that it is another's.
    #[inline]
    pub fn bind(&self, context: &mut Arc<Context>) -> Result<(), Refusal> {
        match &self.standing {
            Standing::Known(present) => match &present.0.role {
                Role::Cluster(place) => {
                    // Read first: it is written by every question otherwise.
                    if !present.0.asked.load(Ordering::Relaxed) {
                        present.0.asked.store(true, Ordering::Relaxed);
                    }
                    place.bind(Arc::make_mut(context))
                }
                Role::Reader | Role::Writer => Ok(()),
            },
            Standing::Open | Standing::Stranger(_) => Ok(()),
        }
    }
}

impl Role {
    fn may(&self, need: Need) -> Result<(), Refusal> {
        match (self, need) {
            (_, Need::Nothing) | (Self::Cluster(_) | Self::Writer, Need::Ask) => Ok(()),
            (Self::Reader | Self::Writer, Need::Read) | (Self::Writer, Need::Write) => Ok(()),
            (Self::Reader, Need::Ask) => Err(Refusal::Role(
                "your certificate speaks for no cluster: ask with that of a cluster, or have `role: writer`",
            )),
            (Self::Reader, Need::Write) => Err(Refusal::Role(
                "your certificate is that of a reader: this takes an operator with `role: writer`",
            )),
            (Self::Cluster(_), Need::Read | Need::Write) => Err(Refusal::Role(
                "your certificate speaks for a cluster: this takes that of an operator",
            )),
        }
    }
}

impl Place {
    fn bind(&self, context: &mut Context) -> Result<(), Refusal> {
        let fields = [
            ("context.cluster", &self.cluster, &mut context.cluster),
            ("context.cloud.provider", &self.provider, &mut context.provider),
            ("context.cloud.account", &self.account, &mut context.account),
            ("context.cloud.region", &self.region, &mut context.region),
        ];
        for (field, own, asked) in fields {
            if own.is_empty() || asked == own {
                continue;
            }
            if !asked.is_empty() {
                let asked = printable(asked, MAX_SHOWN);
                return Err(Refusal::Elsewhere { field, asked, own: own.clone() });
            }
            asked.push_str(own);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
