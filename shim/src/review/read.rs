//! The bytes of a review in, what it asks out.

use std::collections::HashSet;

use super::error::{Fault, ReviewError, Seen};
use super::kinds::{self, Content, Kind};
use super::question::{
    API_VERSION, Asked, Context, Image, KIND, Level, Object, Operation, Place, Question, Review,
    Untouched,
};
use super::settings::Settings;
use super::tree::{self, Kind as Shape, Tree};
use super::{MAX_CONTAINER, MAX_IMAGE, MAX_IMAGES, context};

/// Parts of objects that have no images, by the names of Kubernetes.
const WITHOUT_IMAGES: [&str; 10] = [
    "status",
    "scale",
    "binding",
    "eviction",
    "exec",
    "attach",
    "portforward",
    "proxy",
    "log",
    "finalize",
];

/// Reads a review.
///
/// # Errors
/// When it is longer than [`super::MAX_REVIEW`], past another bound, no `AdmissionReview` of `v1`, or of a kind
/// of which nobody says where its images are.
pub fn read(bytes: &[u8], settings: &Settings) -> Result<Review, ReviewError> {
    let (document, uid) = tree::parse(bytes);
    let document = match document {
        Ok(document) => document,
        Err(fault) => return Err(ReviewError::unread(uid, fault)),
    };
    let tree = document.root();
    review(tree, uid.as_deref(), settings).map_err(|fault| {
        let request = tree.get("request");
        let text = |tree: Tree<'_>| tree.text().map(str::to_owned);
        let seen = Seen {
            namespace: text(request.get("namespace")),
            kind: text(request.get("kind").get("kind")),
            name: text(request.get("name")),
            dry_run: request.get("dryRun").kind() == Shape::True,
        };
        ReviewError { uid, seen: Box::new(seen), fault }
    })
}

impl ReviewError {
    /// For a review that was read, and at which the shim failed.
    pub(crate) fn lost(review: &Review) -> Self {
        let Object { namespace, kind, name, .. } = &review.object;
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let (namespace, kind, name) = (text(namespace), text(kind), text(name));
        let seen = Seen { namespace, kind, name, dry_run: review.dry_run };
        Self { uid: Some(review.uid.clone()), seen: Box::new(seen), fault: Fault::Lost }
    }

    /// For a review that is longer than [`super::MAX_REVIEW`], of which only the beginning was read.
    #[must_use]
    pub fn too_large(beginning: &[u8]) -> Self {
        Self::unread(tree::uid(beginning), Fault::TooLarge { limit: super::MAX_REVIEW })
    }

    /// For one of which nothing but its uid could be read.
    fn unread(uid: Option<String>, fault: Fault) -> Self {
        Self { uid, seen: Box::default(), fault }
    }
}

fn review(tree: Tree<'_>, uid: Option<&str>, settings: &Settings) -> Result<Review, Fault> {
    let [version, kind] = ["apiVersion", "kind"].map(|name| tree.get(name).text());
    if (version, kind) != (Some(API_VERSION), Some(KIND)) {
        let [version, kind] = [version, kind].map(Option::unwrap_or_default);
        return Err(Fault::Version(super::text::printable(
            &format!("{version} {kind}"),
            MAX_IMAGE,
        )));
    }
    let request = tree.get("request");
    let Some(uid) = uid else {
        let uid = request.get("uid");
        return Err(Fault::shape("request.uid", uid, "a text of 1 to 128 bytes"));
    };
    let operation = operation(request.get("operation"))?;
    let group = optional(request.get("kind"), "request.kind", "group")?;
    let kind = optional(request.get("kind"), "request.kind", "kind")?;
    let known = Kind::find(group, kind, settings);
    let (new, old) = (request.get("object"), request.get("oldObject"));
    let either = if new.is_null() { old } else { new };
    let object = Object {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: optional(request, "request", "namespace")?.to_owned(),
        name: name(request, either)?.to_owned(),
        subresource: optional(request, "request", "subResource")?.to_owned(),
        level: known.as_ref().map_or(Level::Controller, Kind::level),
    };
    let asked = match operation {
        Operation::Delete => Asked::Nothing(Untouched::Deleted),
        Operation::Connect => Asked::Nothing(Untouched::Connected),
        Operation::Create | Operation::Update if WITHOUT_IMAGES.contains(&&*object.subresource) => {
            Asked::Nothing(Untouched::Subresource)
        }
        Operation::Create | Operation::Update => {
            let known = known.ok_or_else(|| unknown_kind(&object))?;
            let old = if operation == Operation::Update { old } else { Tree::null() };
            asked(known, &object, new, old, settings)?
        }
    };
    let dry_run = request.get("dryRun").kind() == Shape::True;
    Ok(Review { uid: uid.to_owned(), operation, dry_run, object, asked })
}

/// What is asked about the images that are in `new` and not in `old`.
fn asked(
    kind: Kind<'_>,
    object: &Object,
    new: Tree<'_>,
    old: Tree<'_>,
    settings: &Settings,
) -> Result<Asked, Fault> {
    super::pod::object(new, "request.object")?;
    let own = new.get("kind");
    if !own.is_null() && own.text() != Some(&*object.kind) {
        return Err(Fault::shape("request.object.kind", own, "the kind of the request"));
    }
    let (mut images, context) = parts(kind, object, new, settings)?;
    if images.is_empty() {
        return Ok(Asked::Nothing(Untouched::None));
    }
    // What cannot be read of the object as it was has nothing that stays as it was.
    if let Ok((before, context_before)) = parts(kind, object, old, settings)
        && (object.level == Level::Pod || context_before == context)
    {
        let before: HashSet<_> = before.iter().map(same).collect();
        images.retain(|image| !before.contains(&same(image)));
        if images.is_empty() {
            return Ok(Asked::Nothing(Untouched::Unchanged));
        }
    }
    let (blank, images): (Vec<_>, _) =
        images.into_iter().partition(|image| image.image.trim().is_empty());
    if object.level == Level::Controller && images.is_empty() {
        return Ok(Asked::Nothing(Untouched::None));
    }
    bounded(&images)?;
    Ok(Asked::Images(Box::new(Question { context, images, blank })))
}

fn parts(
    kind: Kind<'_>,
    object: &Object,
    tree: Tree<'_>,
    settings: &Settings,
) -> Result<(Vec<Image>, Context), Fault> {
    let Content { images, pods } = kinds::content(kind, tree)?;
    Ok((images, context::context(object, tree.get("metadata"), &pods, settings)?))
}

/// What makes an image the same as before.
fn same(image: &Image) -> (Place, &str, &str) {
    (image.place, &image.container, &image.image)
}

/// The service refuses what is longer, and it would be as if it could not be asked.
fn bounded(images: &[Image]) -> Result<(), Fault> {
    if images.len() > MAX_IMAGES {
        return Err(Fault::TooMany { what: "images", limit: MAX_IMAGES });
    }
    for image in images {
        let bounds =
            [("image", &image.image, MAX_IMAGE), ("name", &image.container, MAX_CONTAINER)];
        for (what, text, limit) in bounds {
            if text.len() > limit {
                return Err(Fault::TooLong {
                    what,
                    field: super::text::printable(&image.pointer, MAX_IMAGE),
                    length: text.len(),
                    limit,
                });
            }
        }
    }
    Ok(())
}

fn operation(operation: Tree<'_>) -> Result<Operation, Fault> {
    match operation.text() {
        Some("CREATE") => Ok(Operation::Create),
        Some("UPDATE") => Ok(Operation::Update),
        Some("DELETE") => Ok(Operation::Delete),
        Some("CONNECT") => Ok(Operation::Connect),
        _ => Err(Fault::shape("request.operation", operation, "CREATE, UPDATE, DELETE or CONNECT")),
    }
}

/// The text of a member; empty where there is none.
fn optional<'t>(tree: Tree<'t>, at: &str, name: &str) -> Result<&'t str, Fault> {
    let member = tree.get(name);
    match member.text() {
        Some(text) => Ok(text),
        None if member.is_null() => Ok(""),
        None => Err(Fault::shape(&format!("{at}.{name}"), member, "a text")),
    }
}

/// The name of the object, as far as it has one by now.
fn name<'t>(request: Tree<'t>, object: Tree<'t>) -> Result<&'t str, Fault> {
    let metadata = object.get("metadata");
    let names = [
        optional(request, "request", "name")?,
        optional(metadata, "metadata", "name")?,
        optional(metadata, "metadata", "generateName")?,
    ];
    Ok(names.into_iter().find(|name| !name.is_empty()).unwrap_or_default())
}

fn unknown_kind(object: &Object) -> Fault {
    let group = if object.group.is_empty() { "core" } else { &object.group };
    let part = if object.subresource.is_empty() {
        String::new()
    } else {
        format!("/{}", object.subresource)
    };
    Fault::Kind(super::text::printable(&format!("{group}/{}{part}", object.kind), MAX_IMAGE))
}

#[cfg(test)]
mod tests;
