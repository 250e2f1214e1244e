//! An object and its pods in, where its images would run out.

use std::collections::BTreeMap;

use super::error::Fault;
use super::kinds::Pod;
use super::question::{Context, Level, Object, Workload};
use super::settings::Settings;
use super::tree::{Kind, Tree};
use super::{MAX_CONTEXT, pod};

/// Kinds that another kind makes by a template of its own: to be known by what makes them.
const MADE_BY: [(&str, &str); 2] = [("ReplicaSet", "Deployment"), ("Job", "CronJob")];
/// What Kubernetes has pods run as that do not say it.
const DEFAULT_ACCOUNT: &str = "default";
/// What an entry of a map takes beside its texts in the question, in bytes, generously.
const ENTRY: usize = 16;

/// Where the pods of `object` would run, whose own metadata is `metadata`. Fields that several pods do not
/// agree in stay empty: each pod is asked about with its own when it is made.
pub(super) fn context(
    object: &Object,
    metadata: Tree<'_>,
    pods: &[Pod<'_>],
    settings: &Settings,
) -> Result<Context, Fault> {
    let labels_of = |name: &str| settings.namespace_labels.get(name).cloned();
    let mut context = Context {
        namespace: object.namespace.clone(),
        namespace_labels: labels_of(&object.namespace).unwrap_or_default(),
        workload: workload(object, metadata),
        ..Context::default()
    };
    if object.level == Level::Pod {
        context.pod.clone_from(&object.name);
    }
    for (at, pod) in pods.iter().enumerate() {
        let labels = labels(pod.metadata)?;
        let account = account(pod.spec);
        let glass = break_glass(pod.metadata, settings);
        if at == 0 {
            context.pod_labels = labels;
            account.clone_into(&mut context.service_account);
            glass.clone_into(&mut context.break_glass);
            continue;
        }
        context.pod_labels.retain(|name, value| labels.get(name) == Some(value));
        if context.service_account != account {
            context.service_account.clear();
        }
        if context.break_glass != glass {
            context.break_glass.clear();
        }
    }
    let size = size(&context);
    if size > MAX_CONTEXT {
        return Err(Fault::TooMany { what: "bytes of names and labels", limit: MAX_CONTEXT });
    }
    Ok(context)
}

/// What the images belong to: of a pod its controller, or the pod itself.
fn workload(object: &Object, metadata: Tree<'_>) -> Workload {
    let owner = owner(metadata);
    let is_made = |owner: &Workload| {
        object.level == Level::Pod || MADE_BY.contains(&(&*object.kind, &*owner.kind))
    };
    owner
        .filter(is_made)
        .unwrap_or_else(|| Workload { kind: object.kind.clone(), name: object.name.clone() })
}

/// The owner that controls an object. There is at most one.
fn owner(metadata: Tree<'_>) -> Option<Workload> {
    let controls = |owner: &Tree<'_>| owner.get("controller").kind() == Kind::True;
    let owner = metadata.get("ownerReferences").elements().find(controls)?;
    let text = |name: &str| owner.get(name).text().unwrap_or_default().to_owned();
    Some(Workload { kind: text("kind"), name: text("name") })
}

fn labels(metadata: Tree<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let labels = metadata.get("labels");
    if !labels.is_null() {
        pod::object(labels, "metadata.labels")?;
    }
    let mut read = BTreeMap::new();
    for (name, value) in labels.members() {
        let Some(value) = value.text() else {
            return Err(Fault::shape(&format!("metadata.labels[{name}]"), value, "a text"));
        };
        read.insert(name.to_owned(), value.to_owned());
    }
    Ok(read)
}

/// The service account that a pod runs as. The second name is the older one, and the first counts.
fn account<'t>(spec: Tree<'t>) -> &'t str {
    let names = ["serviceAccountName", "serviceAccount"].map(|name| spec.get(name).text());
    names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or(DEFAULT_ACCOUNT)
}

fn break_glass<'t>(metadata: Tree<'t>, settings: &Settings) -> &'t str {
    let key = settings.break_glass_annotation.as_str();
    metadata.get("annotations").get(key).text().unwrap_or_default()
}

/// What a context takes in a question, in bytes, at most.
fn size(context: &Context) -> usize {
    let maps = [&context.namespace_labels, &context.pod_labels];
    let entries = maps.into_iter().flatten().map(|(name, value)| name.len() + value.len() + ENTRY);
    let texts = [
        &context.namespace,
        &context.workload.kind,
        &context.workload.name,
        &context.pod,
        &context.service_account,
        &context.break_glass,
    ];
    entries.chain(texts.into_iter().map(String::len)).sum()
}

#[cfg(test)]
mod tests;
