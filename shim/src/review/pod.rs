//! The spec of a pod in, every image in it out.

use super::error::Fault;
use super::question::{Image, Place};
use super::tree::{Kind, Tree};

/// Room for what a pointer has below the spec.
const ROOM: usize = 64;

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
pub(super) fn images(spec: Tree<'_>, pointer: &str, images: &mut Vec<Image>) -> Result<(), Fault> {
    object(spec, pointer)?;
    let mut way = String::with_capacity(pointer.len() + ROOM);
    way.push_str(pointer);
    for (name, place) in CONTAINERS {
        each(spec, name, &mut way, |container, way| {
            let image = container.get("image");
            images.push(below(way, "image", |way| found(place, container, image, way))?);
            Ok(())
        })?;
    }
    each(spec, "volumes", &mut way, |volume, way| {
        let source = volume.get("image");
        if source.is_null() {
            return Ok(());
        }
        let image = below(way, "image", |way| {
            object(source, way)?;
            let image = source.get("reference");
            below(way, "reference", |way| found(Place::Volume, volume, image, way))
        });
        images.push(image?);
        Ok(())
    })?;
    Unknown { images, pointer, way: Vec::new() }.walk(spec, At::Spec, "");
    Ok(())
}

/// An image at `pointer`; blank where there is none yet.
pub(super) fn found(
    place: Place,
    holder: Tree<'_>,
    image: Tree<'_>,
    pointer: &str,
) -> Result<Image, Fault> {
    let container = holder.get("name").text().unwrap_or_default().to_owned();
    let text = match image.text() {
        Some(text) => text,
        None if image.is_null() => "",
        None => return Err(Fault::shape(pointer, image, "the text of an image reference")),
    };
    Ok(Image { place, container, image: text.to_owned(), pointer: pointer.to_owned() })
}

/// Refuses what is no object.
pub(super) fn object(tree: Tree<'_>, pointer: &str) -> Result<(), Fault> {
    match tree.kind() {
        Kind::Object => Ok(()),
        _ => Err(Fault::shape(pointer, tree, "an object")),
    }
}

/// Does `with` for each object of the list that is the member `name`; null is a list without any.
fn each(
    holder: Tree<'_>,
    name: &str,
    way: &mut String,
    mut with: impl FnMut(Tree<'_>, &mut String) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let list = holder.get(name);
    below(way, name, |way| match list.kind() {
        Kind::Null => Ok(()),
        Kind::List => list.elements().enumerate().try_for_each(|(at, element)| {
            below(way, &at.to_string(), |way| {
                object(element, way)?;
                with(element, way)
            })
        }),
        _ => Err(Fault::shape(way, list, "a list")),
    })
}

/// Does `then` one step further, at `name`.
fn below<R>(way: &mut String, name: &str, then: impl FnOnce(&mut String) -> R) -> R {
    let length = way.len();
    push(way, name);
    let done = then(way);
    way.truncate(length);
    done
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
struct Unknown<'i, 't> {
    images: &'i mut Vec<Image>,
    /// Where the spec is.
    pointer: &'i str,
    /// The way from there to where the walk is.
    way: Vec<Step<'t>>,
}

/// One step of a way.
#[derive(Clone, Copy)]
enum Step<'t> {
    Member(&'t str),
    Element(usize),
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

impl<'t> Unknown<'_, 't> {
    /// Walks what is below `tree`, which is in an object called `holder`.
    fn walk(&mut self, tree: Tree<'t>, at: At, holder: &'t str) {
        match tree.kind() {
            Kind::List => {
                let inner = match at {
                    At::Containers => At::Container,
                    At::Volumes => At::Volume,
                    _ => At::Elsewhere,
                };
                for (index, element) in tree.elements().enumerate() {
                    if has_more(element) {
                        self.below(Step::Element(index), |walk| walk.walk(element, inner, holder));
                    }
                }
            }
            Kind::Object => {
                let mut name_of = None;
                for (name, value) in tree.members() {
                    let (is_like, has_more) = (looks_like_image(name), has_more(value));
                    if !is_like && !has_more {
                        continue;
                    }
                    let Some(inner) = at.member(name) else { continue };
                    let is_taken = is_like && inner == At::Elsewhere;
                    if !is_taken && !has_more {
                        continue;
                    }
                    let holder =
                        *name_of.get_or_insert_with(|| tree.get("name").text().unwrap_or(holder));
                    self.below(Step::Member(name), |walk| {
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
    fn take(&mut self, value: Tree<'t>, holder: &str) {
        match value.kind() {
            Kind::Text | Kind::Unescaped => {
                let image = value.text().unwrap_or_default().to_owned();
                let (container, pointer) = (holder.to_owned(), self.pointer());
                self.images.push(Image { place: Place::Unknown, container, image, pointer });
            }
            Kind::List => {
                for (index, element) in value.elements().enumerate() {
                    if element.text().is_some() {
                        self.below(Step::Element(index), |walk| walk.take(element, holder));
                    }
                }
            }
            Kind::Object if value.get("reference").text().is_some() => {
                let reference = value.get("reference");
                self.below(Step::Member("reference"), |walk| walk.take(reference, holder));
            }
            _ => {}
        }
    }

    fn below(&mut self, step: Step<'t>, then: impl FnOnce(&mut Self)) {
        self.way.push(step);
        then(self);
        self.way.pop();
    }

    /// Where the walk is, as a JSON Pointer.
    fn pointer(&self) -> String {
        let mut pointer = self.pointer.to_owned();
        for step in &self.way {
            match *step {
                Step::Member(name) => push(&mut pointer, name),
                Step::Element(at) => push(&mut pointer, &at.to_string()),
            }
        }
        pointer
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

/// Whether there may be anything below a value.
fn has_more(tree: Tree<'_>) -> bool {
    matches!(tree.kind(), Kind::List | Kind::Object)
}

/// `image`, `sidecarImages`, `imageReference`; not `imagePullPolicy`.
fn looks_like_image(name: &str) -> bool {
    let name = name.strip_suffix('s').unwrap_or(name);
    // Most names are seen to be no image by their length and end.
    if name.len() < "image".len() || !matches!(name.as_bytes().last(), Some(b'e' | b'f')) {
        return false;
    }
    ["image", "imageRef", "imageReference"].contains(&name) || name.ends_with("Image")
}
