//! An OpenVEX document in, the statements out that are about the verified image or packages of it.
//!
//! Fields as in `OPENVEX-SPEC.md` 0.2.0 of openvex/spec, and texts in place of objects as 0.0.1 has
//! them. Only what is wholly understood may clear a finding, so a statement is left out that has
//! another status than the four, a `not_affected` without the reason that the specification demands,
//! or only products of which it is not known whether they are in the image.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::capped::Capped;
use super::vex::{Statement, Status, Vex};
use super::{
    FindingsError, MAX_DIGESTS, MAX_ID, MAX_LIST, MAX_PRODUCTS, MAX_STATEMENTS, MAX_TEXT, OPENVEX,
    bounded, part, time,
};
use crate::image::Digest;

/// What a statement without products is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unnamed {
    /// The image: the subject of the statement around it (OpenVEX, "Inheritance Flow").
    Subject,
    /// Nothing that is known.
    Nothing,
}

/// Whether a predicate type or a `@context` is that of OpenVEX, of whatever version.
pub(crate) fn is_type(text: &str) -> bool {
    text.strip_prefix(OPENVEX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads a document about `subject`.
pub(super) fn read(
    document: &RawValue,
    subject: Digest,
    unnamed: Unnamed,
) -> Result<Vex, FindingsError> {
    let raw: Raw = part(document)?;
    let context = raw.context.unwrap_or_default();
    if !is_type(&context) {
        return Err(FindingsError::Format(
            bounded("bytes of @context", &context, MAX_TEXT)?.to_owned(),
        ));
    }
    let author = raw.author.ok_or(FindingsError::Missing("author"))?;
    let issued_at = raw.timestamp.map(|at| time("timestamp", Some(&at))).transpose()?;
    let statements = raw.statements.ok_or(FindingsError::Missing("statements"))?;
    let mut kept = Vec::new();
    for statement in statements.within("statements")? {
        kept.extend(statement.into_statement(subject, unnamed, issued_at)?);
    }
    let author = bounded("bytes of author", &author, MAX_TEXT)?.to_owned();
    Ok(Vex { author, statements: kept })
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "@context")]
    context: Option<String>,
    author: Option<String>,
    timestamp: Option<String>,
    statements: Option<Capped<Said, MAX_STATEMENTS>>,
}

#[derive(Deserialize)]
struct Said {
    vulnerability: Option<Named<Vulnerability>>,
    timestamp: Option<String>,
    products: Option<Capped<Named<Product>, MAX_PRODUCTS>>,
    status: Option<String>,
    justification: Option<String>,
    impact_statement: Option<String>,
}

/// An object, or in 0.0.1 its name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named<T> {
    Name(String),
    Object(T),
}

#[derive(Deserialize)]
struct Vulnerability {
    name: Option<String>,
    aliases: Option<Capped<String, MAX_LIST>>,
}

#[derive(Default, Deserialize)]
struct Product {
    #[serde(flatten)]
    component: Component,
    subcomponents: Option<Capped<Named<Component>, MAX_PRODUCTS>>,
}

#[derive(Default, Deserialize)]
struct Component {
    #[serde(rename = "@id")]
    id: Option<String>,
    identifiers: Option<Identifiers>,
    hashes: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Identifiers {
    purl: Option<String>,
}

impl Said {
    /// The statement, if it is wholly understood and is about the image.
    fn into_statement(
        self,
        subject: Digest,
        unnamed: Unnamed,
        document: Option<OffsetDateTime>,
    ) -> Result<Option<Statement>, FindingsError> {
        let status = self.status();
        let issued_at = match self.timestamp {
            Some(at) => Some(time("statements.timestamp", Some(&at))?),
            None => document,
        };
        let ids = self.vulnerability.map(ids).transpose()?.unwrap_or_default();
        let products = self.products.unwrap_or_default().within("products of one statement")?;
        let about = if products.is_empty() {
            match unnamed {
                Unnamed::Subject => Some(About::Image),
                Unnamed::Nothing => None,
            }
        } else {
            about(products, subject)?
        };
        let (Some(issued_at), Some(about)) = (issued_at, about) else {
            return Ok(None);
        };
        if ids.is_empty() {
            return Ok(None);
        }
        let packages = match about {
            About::Image => Vec::new(),
            About::Packages(packages) => packages,
        };
        Ok(Some(Statement { ids, status, packages, issued_at }))
    }

    /// What is said. A status that is not known, or without the reason that it needs, clears nothing;
    /// but it was said, and so an older statement no longer stands.
    fn status(&self) -> Status {
        let is_stated =
            |text: &Option<String>| text.as_deref().is_some_and(|t| !t.trim().is_empty());
        let is_reasoned = is_stated(&self.justification) || is_stated(&self.impact_statement);
        match self.status.as_deref() {
            Some("affected") => Status::Affected,
            Some("fixed") => Status::Fixed,
            Some("not_affected") if is_reasoned => Status::NotAffected,
            _ => Status::UnderInvestigation,
        }
    }
}

/// All names of a vulnerability.
fn ids(vulnerability: Named<Vulnerability>) -> Result<Vec<Box<str>>, FindingsError> {
    let names = match vulnerability {
        Named::Name(name) => vec![name],
        Named::Object(Vulnerability { name, aliases }) => {
            let aliases = aliases.unwrap_or_default().within("aliases of one vulnerability")?;
            name.into_iter().chain(aliases).collect()
        }
    };
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let name = bounded("bytes of vulnerability identifier", &name, MAX_ID)?;
        if !name.is_empty() {
            ids.push(name.into());
        }
    }
    Ok(ids)
}

/// What a statement is about.
enum About {
    Image,
    /// Package URLs, at least one.
    Packages(Vec<Box<str>>),
}

/// What of the image the products are: all of it, or packages. `None` if none of them is known to be
/// of it.
fn about(products: Vec<Named<Product>>, subject: Digest) -> Result<Option<About>, FindingsError> {
    let mut packages = Vec::new();
    for product in products {
        let Product { component, subcomponents } = match product {
            Named::Object(product) => product,
            Named::Name(id) => Product { component: named(id), subcomponents: None },
        };
        let is_image = component.is(subject)?;
        let subcomponents = subcomponents.unwrap_or_default().within("subcomponents")?;
        if subcomponents.is_empty() {
            if is_image {
                return Ok(Some(About::Image));
            }
            packages.extend(component.package()?);
        }
        if !is_image && component.package()?.is_none() {
            continue;
        }
        for subcomponent in subcomponents {
            let component = match subcomponent {
                Named::Object(component) => component,
                Named::Name(id) => named(id),
            };
            packages.extend(component.package()?);
        }
    }
    Ok((!packages.is_empty()).then_some(About::Packages(packages)))
}

fn named(id: String) -> Component {
    Component { id: Some(id), ..Component::default() }
}

impl Component {
    /// Its package URLs.
    fn purls(&self) -> impl Iterator<Item = &str> {
        let stated = self.identifiers.as_ref().and_then(|i| i.purl.as_deref());
        stated.into_iter().chain(self.id.as_deref()).filter(|id| id.starts_with("pkg:"))
    }

    /// Whether it is the image `subject`, by the digest in its package URL or by its hash.
    fn is(&self, subject: Digest) -> Result<bool, FindingsError> {
        let hashes = self.hashes.as_ref();
        if hashes.is_some_and(|hashes| hashes.len() > MAX_DIGESTS) {
            return Err(FindingsError::TooLarge {
                what: "hashes of one product",
                limit: MAX_DIGESTS,
            });
        }
        let hash = hashes.and_then(|hashes| hashes.get("sha-256"));
        Ok(hash.is_some_and(|hash| *hash == subject.hex())
            || self
                .purls()
                .filter(|purl| is_image(purl))
                .any(|purl| version(purl) == Some(subject)))
    }

    /// The package that it is; `None` for what has no package URL, and for an image.
    fn package(&self) -> Result<Option<Box<str>>, FindingsError> {
        match self.purls().next() {
            Some(purl) if !is_image(purl) => {
                Ok(Some(bounded("bytes of package URL", purl, MAX_TEXT)?.into()))
            }
            _ => Ok(None),
        }
    }
}

/// Whether a package URL is of a type that names images.
fn is_image(purl: &str) -> bool {
    let kind = purl.strip_prefix("pkg:").and_then(|rest| rest.split('/').find(|p| !p.is_empty()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("oci") || kind.eq_ignore_ascii_case("docker"))
}

/// The digest that is the version of an image's package URL, its colon plain or encoded.
fn version(purl: &str) -> Option<Digest> {
    let path = purl.split(['?', '#']).next()?;
    let (_, version) = path.rsplit_once('@')?;
    version.replacen("%3A", ":", 1).replacen("%3a", ":", 1).parse().ok()
}
