//! Docker's `config.json` or a Kubernetes pull secret in, the credentials for one repository out.
//!
//! Which entries are for an image is what the kubelet has: a host of which each label may be a
//! pattern, a port, and the beginning of a path, the longest first; all that match are tried in
//! order. A path ends at a `/` here: what is for `reg.io/team` is not for `reg.io/team-evil`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use portcullis_core::json;
use serde_json::{Map, Value};

use super::file::Content;
use super::{Credential, HostPattern};
use crate::registry::config::Secret;

/// The most entries of one file.
pub const MAX_ENTRIES: usize = 1_000;
/// The most credentials that are tried for one image.
pub const MAX_TRIED: usize = 5;

/// What `config.json` (with `auths`), `.dockerconfigjson` or `.dockercfg` says.
pub struct DockerConfig {
    /// The most particular first.
    entries: Vec<Entry>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

struct Entry {
    /// As it is in the file.
    key: String,
    host: HostPattern,
    /// Empty, or with a `/` before each part and none after the last.
    path: String,
    credential: Arc<Credential>,
}

/// A credential and the name of the entry that holds it.
pub(super) struct Match {
    pub(super) identity: String,
    pub(super) credential: Arc<Credential>,
}

impl DockerConfig {
    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// Says what is wrong in words that repeat nothing of the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        // What the JSON reader says of a fault may repeat what is secret.
        let file: Map<String, Value> =
            json::from_slice(bytes).map_err(|_| "it is not a JSON object with each key once")?;
        let is_config = ["auths", "credHelpers", "credsStore", "HttpHeaders", "credStore"];
        let nothing = Map::new();
        let auths = if is_config.iter().any(|key| file.contains_key(*key)) {
            match file.get("auths") {
                None | Some(Value::Null) => &nothing,
                Some(auths) => auths.as_object().ok_or("`auths` is not an object")?,
            }
        } else {
            &file
        };
        if auths.len() > MAX_ENTRIES {
            return Err("it has more than 1000 entries");
        }
        let mut entries = Vec::new();
        for (key, value) in auths {
            let value = value.as_object().ok_or("an entry is not an object")?;
            let (Some((host, path)), Some(credential)) = (split(key), credential(value)?) else {
                continue;
            };
            let credential = Arc::new(credential);
            entries.push(Entry { key: key.clone(), host, path, credential });
        }
        // The kubelet sorts so too: of two keys with a common beginning, the longer one is first.
        entries.sort_by(|a, b| (b.host.text(), &b.path).cmp(&(a.host.text(), &a.path)));
        let helpers = match file.get("credHelpers") {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(helpers) => helpers
                .as_object()
                .ok_or("`credHelpers` is not an object")?
                .iter()
                .map(|(host, name)| {
                    let name = name.as_str().ok_or("a name in `credHelpers` is not text")?;
                    Ok((host.clone(), name.to_owned()))
                })
                .collect::<Result<_, &'static str>>()?,
        };
        let store = match file.get("credsStore") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) if name.is_empty() => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => return Err("`credsStore` is not text"),
        };
        Ok(Self { entries, helpers, store })
    }

    /// Whether it names programs that hold the credentials.
    #[must_use]
    pub fn has_helpers(&self) -> bool {
        !self.helpers.is_empty() || self.store.is_some()
    }

    /// The program that holds the credentials of `registry`, and the name by which it knows it.
    #[must_use]
    pub fn helper(&self, registry: &str) -> Option<(&str, String)> {
        let aliases: &[&str] = if registry == "docker.io" {
            &["https://index.docker.io/v1/", "index.docker.io", "docker.io"]
        } else {
            &[registry]
        };
        let own = aliases.iter().find_map(|name| Some((self.helpers.get(*name)?.as_str(), *name)));
        let store = || Some((self.store.as_deref()?, *aliases.first()?));
        own.or_else(store).map(|(program, name)| (program, name.to_owned()))
    }

    /// The credential that `repository` of `registry` is asked with first, as one value.
    #[must_use]
    pub fn first(&self, registry: &str, repository: &str) -> Option<crate::registry::Credentials> {
        let found = self.matches(registry, repository).next()?;
        Some(found.credential.to_config())
    }

    /// The entries for a repository, in the order in which they are tried.
    pub(super) fn matches<'a>(
        &'a self,
        registry: &'a str,
        repository: &'a str,
    ) -> impl Iterator<Item = Match> + 'a {
        let path = format!("/{repository}");
        let is_for = move |entry: &&Entry| {
            entry.host.matches(registry)
                && path
                    .strip_prefix(&entry.path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.entries.iter().filter(is_for).take(MAX_TRIED).map(|entry| Match {
            identity: format!("{:?}:{}", entry.key, entry.credential.name()),
            credential: Arc::clone(&entry.credential),
        })
    }
}

impl Content for DockerConfig {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let config = Self::parse(bytes)?;
        // A service that runs programs for whoever may name an image is not what anybody wants.
        if config.has_helpers() {
            return Err("it names credential helpers, which only the command line runs: give the \
                        service `auths`, or the `acr`, `ecr` or `gar` credentials");
        }
        Ok(config)
    }
}

/// The host and the path of a key: `reg.io`, `https://index.docker.io/v1/`, `*.reg.io:5000/team`.
/// `None` for what can match nothing.
fn split(key: &str) -> Option<(HostPattern, String)> {
    let bare = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = match bare.find('/') {
        Some(at) => bare.split_at_checked(at)?,
        None => (bare, ""),
    };
    // Versions of the API that old tools wrote into the key.
    let path = match path.split('/').nth(1) {
        Some("v1" | "v2") => path.get(3..)?,
        _ => path,
    };
    let path = path.trim_end_matches('/').to_owned();
    Some((HostPattern::parse(host)?, path))
}

fn credential(entry: &Map<String, Value>) -> Result<Option<Credential>, &'static str> {
    let text = |name: &str| match entry.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.chars().any(char::is_control) => {
            Err("a text in an entry has a control character")
        }
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err("what is in an entry is not text"),
    };
    let token = |text: String| {
        if text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Secret::new(text))
        } else {
            Err("a token in an entry has characters that no token has")
        }
    };
    if let Some(registry) = text("registrytoken")? {
        return Ok(Some(Credential::Bearer(token(registry)?)));
    }
    if let Some(identity) = text("identitytoken")? {
        return Ok(Some(Credential::identity(token(identity)?)));
    }
    let pair = match text("auth")? {
        Some(auth) => Some(decode(&auth)?),
        None => text("username")?.zip(text("password")?),
    };
    Ok(pair.map(|(username, password)| Credential::Basic {
        username,
        password: Secret::new(password),
    }))
}

fn decode(auth: &str) -> Result<(String, String), &'static str> {
    let bytes = BASE64_STANDARD_NO_PAD
        .decode(auth.trim().trim_end_matches('='))
        .map_err(|_| "an `auth` is not base64")?;
    let pair = String::from_utf8(bytes).map_err(|_| "an `auth` is not text")?;
    let (username, password) =
        pair.split_once(':').ok_or("an `auth` is not a name, `:` and a password")?;
    // Old tools wrote the terminator of their strings too.
    let password = password.trim_matches('\0');
    if pair.trim_end_matches('\0').chars().any(char::is_control) {
        return Err("an `auth` has a control character");
    }
    Ok((username.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests;
