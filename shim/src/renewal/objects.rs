//! Objects of the API server: how they are called, where they are, and what of them we read and write.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::error::RenewalError;

/// The largest object that is read, in bytes: etcd keeps none of more than 1.5 MiB, and JSON may be longer.
pub const MAX_OBJECT: usize = 4 * 1024 * 1024;

/// An object of the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// A Secret.
    Secret {
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
    /// A configuration of validating webhooks.
    Validating(String),
    /// A configuration of mutating webhooks.
    Mutating(String),
}

impl Object {
    /// Where it is.
    pub(super) fn path(&self) -> String {
        let webhooks = "/apis/admissionregistration.k8s.io/v1";
        match self {
            Self::Secret { namespace, name } => {
                format!("/api/v1/namespaces/{namespace}/secrets/{name}")
            }
            Self::Validating(name) => format!("{webhooks}/validatingwebhookconfigurations/{name}"),
            Self::Mutating(name) => format!("{webhooks}/mutatingwebhookconfigurations/{name}"),
        }
    }

    /// The kind of what gives rights to it.
    pub(super) const fn role(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "Role",
            Self::Validating(_) | Self::Mutating(_) => "ClusterRole",
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { namespace, name } => write!(f, "Secret `{namespace}/{name}`"),
            Self::Validating(name) => write!(f, "ValidatingWebhookConfiguration `{name}`"),
            Self::Mutating(name) => write!(f, "MutatingWebhookConfiguration `{name}`"),
        }
    }
}

/// What is done with an object, as roles call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It is read.
    Get,
    /// It is put in the place of what is there.
    Update,
    /// A part of it is.
    Patch,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Update => "update",
            Self::Patch => "patch",
        })
    }
}

/// The texts of a Secret. What is no text is left out.
pub(super) fn texts(secret: &Value) -> BTreeMap<String, String> {
    let Some(Value::Object(data)) = secret.get("data") else { return BTreeMap::new() };
    let text = |value: &Value| {
        let bytes = BASE64_STANDARD.decode(value.as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    };
    data.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

/// The same Secret with these texts beside what else is in it, and of the same version: what was changed
/// meanwhile is not written over.
pub(super) fn with_texts(mut secret: Value, texts: &BTreeMap<String, String>) -> Value {
    if let Value::Object(fields) = &mut secret {
        let data = fields.entry("data").or_insert_with(|| json!({}));
        if !data.is_object() {
            *data = json!({});
        }
        if let Value::Object(data) = data {
            let encoded = |text: &String| Value::from(BASE64_STANDARD.encode(text));
            data.extend(texts.iter().map(|(key, text)| (key.clone(), encoded(text))));
        }
    }
    secret
}

/// A configuration of webhooks, as much of it as concerns us.
pub(super) struct Webhooks {
    version: String,
    /// The name of each webhook, and by whom it is trusted, in PEM.
    hooks: Vec<(String, String)>,
}

impl Webhooks {
    pub(super) fn read(object: &Object, value: &Value) -> Result<Self, RenewalError> {
        let read = || {
            let version = value.pointer("/metadata/resourceVersion")?.as_str()?.to_owned();
            let hooks = value
                .get("webhooks")
                .map_or(Some(&[][..]), |hooks| hooks.as_array().map(Vec::as_slice))?;
            let hooks = hooks.iter().map(|hook| {
                let name = hook.get("name")?.as_str()?.to_owned();
                let bundle = hook.pointer("/clientConfig/caBundle").and_then(Value::as_str);
                let bundle = BASE64_STANDARD.decode(bundle.unwrap_or_default()).ok()?;
                Some((name, String::from_utf8_lossy(&bundle).into_owned()))
            });
            Some(Self { version, hooks: hooks.collect::<Option<_>>()? })
        };
        read().ok_or_else(|| RenewalError::Malformed(object.clone()))
    }

    /// Each different bundle.
    pub(super) fn bundles(&self) -> impl Iterator<Item = &str> {
        self.hooks.iter().map(|(_, bundle)| bundle.as_str())
    }

    /// Whether each of its webhooks trusts who has this certificate.
    pub(super) fn trusts(&self, authority: &str) -> bool {
        self.bundles().all(|bundle| bundle.contains(authority.trim()))
    }

    /// What makes each webhook trust just this, if there is anything: a strategic merge, which knows webhooks by
    /// name, of the version that was read.
    pub(super) fn change(&self, bundle: &str) -> Option<Value> {
        let encoded = BASE64_STANDARD.encode(bundle);
        let others = self.hooks.iter().filter(|(_, known)| known != bundle);
        let changed: Vec<_> = others
            .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": encoded}}))
            .collect();
        let metadata = json!({"resourceVersion": self.version});
        (!changed.is_empty()).then(|| json!({"metadata": metadata, "webhooks": changed}))
    }
}
