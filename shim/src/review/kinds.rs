//! The kind of an object in, the pods and images in it out.

use super::error::Fault;
use super::pod;
use super::question::{Image, Level, Place};
use super::settings::{CustomKind, Settings, Step};
use super::tree::{self, Tree};

/// The kinds of Kubernetes that make pods, and where their templates are.
const BUILT_IN: [(&str, &str, &[&str]); 8] = [
    ("", "PodTemplate", &["template"]),
    ("", "ReplicationController", &["spec", "template"]),
    ("apps", "DaemonSet", &["spec", "template"]),
    ("apps", "Deployment", &["spec", "template"]),
    ("apps", "ReplicaSet", &["spec", "template"]),
    ("apps", "StatefulSet", &["spec", "template"]),
    ("batch", "CronJob", &["spec", "jobTemplate", "spec", "template"]),
    ("batch", "Job", &["spec", "template"]),
];

/// Where objects of one kind have images.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'s> {
    /// The object is a pod.
    Pod,
    /// It has a template of pods here.
    Template(&'static [&'static str]),
    /// It has what is configured.
    Custom(&'s CustomKind),
}

impl<'s> Kind<'s> {
    /// Finds a kind; none where nobody says where its images are.
    pub(super) fn find(group: &str, kind: &str, settings: &'s Settings) -> Option<Self> {
        if group.is_empty() && kind == "Pod" {
            return Some(Self::Pod);
        }
        let built_in = BUILT_IN.iter().find(|(g, k, _)| *g == group && *k == kind);
        match built_in {
            Some((_, _, path)) => Some(Self::Template(path)),
            None => settings.custom_kinds.find(group, kind).map(Self::Custom),
        }
    }

    pub(super) const fn level(&self) -> Level {
        match self {
            Self::Pod => Level::Pod,
            Self::Template(_) | Self::Custom(_) => Level::Controller,
        }
    }
}

/// The images of an object, and the pods that it would make.
#[derive(Debug, Default)]
pub(super) struct Content<'t> {
    /// Those without an image yet are blank.
    pub(super) images: Vec<Image>,
    /// Metadata and specs of pods.
    pub(super) pods: Vec<Pod<'t>>,
}

/// A pod, or one that would be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'t> {
    pub(super) metadata: Tree<'t>,
    pub(super) spec: Tree<'t>,
}

/// Finds all images of `object`.
pub(super) fn content<'t>(kind: Kind<'_>, object: Tree<'t>) -> Result<Content<'t>, Fault> {
    let mut content = Content::default();
    match kind {
        Kind::Pod => content.template(object, "")?,
        Kind::Template(path) => {
            let (mut tree, mut pointer) = (object, String::new());
            for name in path {
                tree = tree.get(name);
                pod::push(&mut pointer, name);
            }
            content.template(tree, &pointer)?;
        }
        Kind::Custom(custom) => content.custom(custom, object)?,
    }
    Ok(content)
}

impl<'t> Content<'t> {
    fn template(&mut self, template: Tree<'t>, pointer: &str) -> Result<(), Fault> {
        pod::object(template, pointer)?;
        let (metadata, spec) = (template.get("metadata"), template.get("spec"));
        pod::images(spec, &format!("{pointer}/spec"), &mut self.images)?;
        self.pods.push(Pod { metadata, spec });
        Ok(())
    }

    fn custom(&mut self, custom: &CustomKind, object: Tree<'t>) -> Result<(), Fault> {
        for path in &custom.pod_templates {
            expand(object, path.steps(), &mut String::new(), &mut |template, pointer| {
                self.template(template, pointer)
            })?;
        }
        for path in &custom.pod_specs {
            expand(object, path.steps(), &mut String::new(), &mut |spec, pointer| {
                pod::images(spec, pointer, &mut self.images)?;
                self.pods.push(Pod { metadata: Tree::null(), spec });
                Ok(())
            })?;
        }
        for path in &custom.images {
            expand(object, path.steps(), &mut String::new(), &mut |image, pointer| {
                let holder = Tree::null();
                let found = pod::found(Place::Configured, holder, image, pointer)?;
                self.images.push(Image { container: path.to_string(), ..found });
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Goes all ways that `steps` allow, and does `with` at the end of each. What is not there has none.
fn expand<'t>(
    tree: Tree<'t>,
    steps: &[Step],
    pointer: &mut String,
    with: &mut impl FnMut(Tree<'t>, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if tree.is_null() {
        return Ok(());
    }
    let Some((step, rest)) = steps.split_first() else { return with(tree, pointer) };
    let length = pointer.len();
    let mut below = |name: &str, tree: Tree<'t>| {
        pod::push(pointer, name);
        let done = expand(tree, rest, pointer, with);
        pointer.truncate(length);
        done
    };
    match (step, tree.kind()) {
        (Step::Member(name), tree::Kind::Object) => below(name, tree.get(name)),
        (Step::Each, tree::Kind::List) => tree
            .elements()
            .enumerate()
            .try_for_each(|(at, element)| below(&at.to_string(), element)),
        (Step::Each, tree::Kind::Object) => {
            tree.members().try_for_each(|(name, value)| below(name, value))
        }
        (Step::Member(_), _) => Err(Fault::shape(pointer, tree, "an object")),
        (Step::Each, _) => Err(Fault::shape(pointer, tree, "a list or an object")),
    }
}
