//! The spec of a pod in, every image in it out.

use super::error::Fault;
use super::question::{Image, Place};
use super::tree::Tree;

/// The lists of containers, and what is in them.
const CONTAINERS: [(&str, Place); 3] = [
    ("initContainers", Place::Init),
    ("containers", Place::Container),
    ("ephemeralContainers", Place::Ephemeral),
];

/// Maps whose names others choose: what is called `image` in one of them is none.
const FREE: [&str; 9] = [
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "options",
    "overhead",
    "requests",
    "volumeAttributes",
];

/// Adds the images of a pod's `spec`, which is at `pointer` of the object.
pub(super) fn images(spec: &Tree<'_>, pointer: &str, images: &mut Vec<Image>) -> Result<(), Fault> {
    object(spec, pointer)?;
    for (name, place) in CONTAINERS {
        each(spec.get(name), &format!("{pointer}/{name}"), |container, pointer| {
            let image = container.get("image");
            images.push(found(place, container, image, format!("{pointer}/image"))?);
            Ok(())
        })?;
    }
    each(spec.get("volumes"), &format!("{pointer}/volumes"), |volume, pointer| {
        let source = volume.get("image");
        if source.is_null() {
            return Ok(());
        }
        let pointer = format!("{pointer}/image");
        object(source, &pointer)?;
        let pointer = format!("{pointer}/reference");
        images.push(found(Place::Volume, volume, source.get("reference"), pointer)?);
        Ok(())
    })?;
    Unknown { images, pointer: pointer.to_owned() }.walk(spec, At::Spec, "");
    Ok(())
}

/// An image at `pointer`; blank where there is none yet.
pub(super) fn found(
    place: Place,
    holder: &Tree<'_>,
    image: &Tree<'_>,
    pointer: String,
) -> Result<Image, Fault> {
    let container = holder.get("name").text().unwrap_or_default().to_owned();
    let image = match image {
        Tree::Null => String::new(),
        Tree::Text(text) => text.to_string(),
        other => return Err(Fault::shape(&pointer, other, "the text of an image reference")),
    };
    Ok(Image { place, container, image, pointer })
}

/// Refuses what is no object.
pub(super) fn object(tree: &Tree<'_>, pointer: &str) -> Result<(), Fault> {
    match tree {
        Tree::Object(_) => Ok(()),
        other => Err(Fault::shape(pointer, other, "an object")),
    }
}

/// Does `with` for each object of a list; null is a list without any.
fn each(
    list: &Tree<'_>,
    pointer: &str,
    mut with: impl FnMut(&Tree<'_>, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let elements = match list {
        Tree::Null => return Ok(()),
        Tree::List(elements) => elements,
        other => return Err(Fault::shape(pointer, other, "a list")),
    };
    for (at, element) in elements.iter().enumerate() {
        let pointer = format!("{pointer}/{at}");
        object(element, &pointer)?;
        with(element, &pointer)?;
    }
    Ok(())
}

/// Adds a member's name to a JSON Pointer (RFC 6901).
pub(super) fn push(pointer: &mut String, name: &str) {
    pointer.push('/');
    if !name.bytes().any(|byte| matches!(byte, b'~' | b'/')) {
        pointer.push_str(name);
        return;
    }
    for character in name.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// Looks for images where this version of us knows of none: a newer Kubernetes may run them.
struct Unknown<'i> {
    images: &'i mut Vec<Image>,
    pointer: String,
}

/// Where in the spec the walk is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Spec,
    Containers,
    Container,
    Volumes,
    Volume,
    Elsewhere,
}

impl Unknown<'_> {
    /// Walks what is below `tree`, which is in an object called `holder`.
    fn walk(&mut self, tree: &Tree<'_>, at: At, holder: &str) {
        match tree {
            Tree::List(elements) => {
                let inner = match at {
                    At::Containers => At::Container,
                    At::Volumes => At::Volume,
                    _ => At::Elsewhere,
                };
                for (index, element) in elements.iter().enumerate().filter(|(_, e)| has_more(e)) {
                    self.below(&index.to_string(), |walk| walk.walk(element, inner, holder));
                }
            }
            Tree::Object(members) => {
                let holder = tree.get("name").text().unwrap_or(holder);
                for (name, value) in members {
                    let Some(inner) = at.member(name) else { continue };
                    let is_taken = inner == At::Elsewhere && looks_like_image(name);
                    if !is_taken && !has_more(value) {
                        continue;
                    }
                    self.below(name, |walk| {
                        if is_taken {
                            walk.take(value, if holder.is_empty() { name } else { holder });
                        }
                        walk.walk(value, inner, holder);
                    });
                }
            }
            _ => {}
        }
    }

    /// Adds what is the value of a member that is called like an image.
    fn take(&mut self, value: &Tree<'_>, holder: &str) {
        match value {
            Tree::Text(text) => {
                let (container, image) = (holder.to_owned(), text.to_string());
                let pointer = self.pointer.clone();
                self.images.push(Image { place: Place::Unknown, container, image, pointer });
            }
            Tree::List(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    if element.text().is_some() {
                        self.below(&index.to_string(), |walk| walk.take(element, holder));
                    }
                }
            }
            Tree::Object(_) if value.get("reference").text().is_some() => {
                self.below("reference", |walk| walk.take(value.get("reference"), holder));
            }
            _ => {}
        }
    }

    fn below(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        push(&mut self.pointer, name);
        then(self);
        self.pointer.truncate(length);
    }
}

impl At {
    /// Where the member `name` leads; nowhere if all that it holds is known.
    fn member(self, name: &str) -> Option<Self> {
        match (self, name) {
            (Self::Spec, "containers" | "initContainers" | "ephemeralContainers") => {
                Some(Self::Containers)
            }
            (Self::Spec, "volumes") => Some(Self::Volumes),
            // The image of a `rbd` volume is a disk of Ceph.
            (Self::Container, "image") | (Self::Volume, "image" | "rbd") => None,
            _ if FREE.contains(&name) => None,
            _ => Some(Self::Elsewhere),
        }
    }
}

/// Whether there is anything below a value.
const fn has_more(tree: &Tree<'_>) -> bool {
    matches!(tree, Tree::List(_) | Tree::Object(_))
}

/// `image`, `sidecarImages`, `imageReference`; not `imagePullPolicy`.
fn looks_like_image(name: &str) -> bool {
    let name = name.strip_suffix('s').unwrap_or(name);
    ["image", "imageRef", "imageReference"].contains(&name) || name.ends_with("Image")
}
