//! An image and where it would run in, whether a rule is about it out.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::glob::{ImagePattern, ImagePatterns};
use super::labels::Selector;
use super::lineage::{Lineage, Workload};
use super::prefix::Prefix;
use crate::decide::Context;
use crate::image::{Digest, Meant, Reference};

/// What a rule can look at to see whether it is about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Cloud provider.
    Provider,
    /// Subscription, account or project.
    Account,
    /// Region.
    Region,
    /// Cluster.
    Cluster,
    /// Namespace.
    Namespace,
    /// Labels of the namespace.
    NamespaceLabels,
    /// Kind and name of the workload: `Deployment/web`.
    Workload,
    /// Pod.
    Pod,
    /// Labels of the pod.
    PodLabels,
    /// Service account.
    ServiceAccount,
    /// Container within the pod.
    Container,
    /// The whole normalised reference: `docker.io/library/nginx:latest`.
    Image,
    /// The registry host: `docker.io`.
    Registry,
    /// The registry host and the path: `docker.io/library/nginx`.
    Repository,
    /// Whether someone says why the image must run.
    BreakGlass,
}

impl Field {
    /// The word for it, as in the contract's `vary`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Account => "account",
            Self::Region => "region",
            Self::Cluster => "cluster",
            Self::Namespace => "namespace",
            Self::NamespaceLabels => "namespace_labels",
            Self::Workload => "workload",
            Self::Pod => "pod",
            Self::PodLabels => "pod_labels",
            Self::ServiceAccount => "service_account",
            Self::Container => "container",
            Self::Image => "image",
            Self::Registry => "registry",
            Self::Repository => "repository",
            Self::BreakGlass => "break_glass",
        }
    }

    /// Whether it can differ between two images of one repository in one context.
    const fn is_of_image(self) -> bool {
        match self {
            Self::Image => true,
            Self::Provider
            | Self::Account
            | Self::Region
            | Self::Cluster
            | Self::Namespace
            | Self::NamespaceLabels
            | Self::Workload
            | Self::Pod
            | Self::PodLabels
            | Self::ServiceAccount
            | Self::Container
            | Self::Registry
            | Self::Repository
            | Self::BreakGlass => false,
        }
    }
}

/// An image and its context, with the texts that matchers look at.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    image: Meant<'a>,
    /// Its reference, where that was not written yet: put together when a matcher asks, as few do.
    written: OnceCell<Reference>,
    ctx: &'a Context,
    container: &'a str,
    /// Found out when a matcher asks: few do.
    lineage: OnceCell<Lineage<'a>>,
}

impl<'a> Target<'a> {
    pub(crate) fn new(image: &'a Reference, ctx: &'a Context) -> Self {
        Self::of(image, ctx, &ctx.container)
    }

    /// An image as `container` of a context that several share.
    pub(crate) fn of(image: impl Into<Meant<'a>>, ctx: &'a Context, container: &'a str) -> Self {
        let (written, lineage) = (OnceCell::new(), OnceCell::new());
        Self { image: image.into(), written, ctx, container, lineage }
    }

    pub(crate) fn reference(&self) -> &Reference {
        match self.image.written() {
            Some(reference) => reference,
            None => self.written.get_or_init(|| self.image.to_reference()),
        }
    }

    /// `registry/repository` of the image.
    pub(super) fn name(&self) -> &'a str {
        self.image.name()
    }

    /// The digest that the image is named by, if it is.
    pub(crate) const fn digest(&self) -> Option<Digest> {
        self.image.digest()
    }

    /// The first of `patterns` that fits the image.
    pub(crate) fn find<'p>(&self, patterns: &'p ImagePatterns) -> Option<&'p ImagePattern> {
        if patterns.is_empty() { None } else { patterns.find(self.reference()) }
    }

    /// Whether any spelling of `field` passes: for what takes a container into a rule's scope.
    fn any(&self, field: Field, test: impl Fn(&str) -> bool) -> bool {
        (field == Field::Image && self.tagged().is_some_and(&test)) || self.surely(field, test)
    }

    /// Whether a spelling of `field` that is certain passes: for what takes a container out of a
    /// rule's scope.
    fn surely(&self, field: Field, test: impl Fn(&str) -> bool) -> bool {
        match field {
            Field::Image => self.images().any(test),
            Field::Workload => self.workloads().any(|workload| workload.spelled(&test)),
            _ => self.text(field).is_some_and(test),
        }
    }

    /// What the image is for certain: the reference as it is, and where it has both tag and digest,
    /// also with the digest alone.
    fn images(&self) -> impl Iterator<Item = &str> + Clone {
        let reference = self.reference();
        let pinned = reference.tag().and_then(|_| reference.with_digest());
        std::iter::once(reference.as_str()).chain(pinned)
    }

    /// Where it has both, the reference with the tag alone. A digest must not carry an image past a
    /// rule for its tag; but the tag beside a digest is anyone's word, and takes it out of none.
    fn tagged(&self) -> Option<&str> {
        // Without a tag there is nothing to put together.
        self.image.tag()?;
        self.digest().and_then(|_| self.reference().with_tag())
    }

    /// All spellings of the image.
    pub(super) fn spellings(&self) -> impl Iterator<Item = &str> + Clone {
        self.images().chain(self.tagged())
    }

    /// The workload and what it belongs to: each is a spelling of it.
    pub(super) fn workloads(&self) -> impl Iterator<Item = Workload<'a>> + Clone {
        self.lineage.get_or_init(|| Lineage::of(self.ctx)).iter()
    }

    /// The text of a field that has one spelling.
    pub(super) fn text(&self, field: Field) -> Option<&'a str> {
        Some(match field {
            Field::Provider => &self.ctx.provider,
            Field::Account => &self.ctx.account,
            Field::Region => &self.ctx.region,
            Field::Cluster => &self.ctx.cluster,
            Field::Namespace => &self.ctx.namespace,
            Field::Pod => &self.ctx.pod,
            Field::ServiceAccount => &self.ctx.service_account,
            Field::Container => self.container,
            Field::Registry => self.image.registry(),
            Field::Repository => self.image.name(),
            Field::BreakGlass => &self.ctx.break_glass,
            Field::Image | Field::Workload | Field::NamespaceLabels | Field::PodLabels => {
                return None;
            }
        })
    }

    pub(super) const fn labels(&self, field: Field) -> Option<&'a BTreeMap<String, String>> {
        match field {
            Field::NamespaceLabels => Some(&self.ctx.namespace_labels),
            Field::PodLabels => Some(&self.ctx.pod_labels),
            _ => None,
        }
    }

    /// Whether the image is in one of `registries`.
    pub(crate) fn is_in(&self, registries: &Prefixes) -> bool {
        registries.0.iter().any(|prefix| prefix.matches(self.name()))
    }
}

/// Registries, or paths within them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prefixes(pub(super) Vec<Prefix>);

impl Prefixes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which containers a rule is about: those that pass all matchers. None passes everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(super) matchers: Vec<Matcher>,
    pub(super) selectors: Vec<(Field, Selector)>,
}

#[derive(Debug, Clone)]
pub(super) struct Matcher {
    pub(super) field: Field,
    pub(super) test: Test,
}

/// What one matcher asks of a text: one of its values fits.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Equals(Values),
    /// None of its values is equal.
    NotEquals(Values),
    StartsWith(Vec<Box<str>>),
    /// Begins with, on path boundaries.
    Within(Vec<Prefix>),
    EndsWith(Vec<Box<str>>),
    Contains(Vec<Box<str>>),
}

/// Texts in order, each once: most often there is one.
#[derive(Debug, Clone)]
pub(super) struct Values(Box<[Box<str>]>);

impl FromIterator<Box<str>> for Values {
    fn from_iter<I: IntoIterator<Item = Box<str>>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        Self(values.into())
    }
}

impl Values {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|value| &**value)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn contains(&self, text: &str) -> bool {
        self.finds(|value| value.cmp(text))
    }

    /// Whether there is a value that is equal; `order` is that of a value to what is looked for.
    fn finds(&self, order: impl Fn(&str) -> Ordering) -> bool {
        self.0.binary_search_by(|value| order(value)).is_ok()
    }

    fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|value| other.contains(value))
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        !self.iter().any(|value| other.contains(value))
    }
}

impl Scope {
    pub(crate) fn covers(&self, target: &Target<'_>) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(target))
            && self.selectors.iter().all(|(field, selector)| {
                target.labels(*field).is_some_and(|labels| selector.selects(labels))
            })
    }

    /// As [`Scope::covers`], but not because of the tag beside a digest, which is anyone's word: for
    /// what permits instead of forbids. A value that is the whole reference names the digest too.
    pub(crate) fn surely_covers(&self, target: &Target<'_>) -> bool {
        let Some(pinned) = target.images().nth(1) else {
            return self.covers(target);
        };
        let Ok(pinned) = pinned.parse() else {
            return false;
        };
        let pinned = Target::new(&pinned, target.ctx);
        let is_named = |matcher: &Matcher| match &matcher.test {
            Test::Equals(values) => values.contains(target.reference().as_str()),
            _ => false,
        };
        let mut images = self.matchers.iter().filter(|matcher| matcher.field == Field::Image);
        self.covers(target) && images.all(|m| is_named(m) || m.matches(&pinned))
    }

    /// The fields that it looks at. What a workload belongs to is seen from its pod's name and
    /// labels too.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        let matched = self.matchers.iter().flat_map(|matcher| match matcher.field {
            Field::Workload => &[Field::Workload, Field::Pod, Field::PodLabels][..],
            _ => std::slice::from_ref(&matcher.field),
        });
        matched.chain(self.selectors.iter().map(|(field, _)| field)).copied()
    }

    /// Whether it looks at more of an image than its repository.
    pub(super) fn reads_image(&self) -> bool {
        self.fields().any(Field::is_of_image)
    }

    /// Whether it is certain that no container is in both; `false` when that is not known.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let matchers = self
            .matchers
            .iter()
            .any(|a| other.matchers.iter().any(|b| a.excludes(b) || b.excludes(a)));
        let labels = |(a_field, a): &(Field, Selector)| {
            other.selectors.iter().any(|(b_field, b)| a_field == b_field && a.excludes(b))
        };
        matchers || self.selectors.iter().any(labels)
    }
}

/// Whether `text` ends with `value`; for images at a boundary of the name, so that `azurecr.io` is not
/// the end of `evil-azurecr.io`. A value that begins with a separator brings its own boundary.
fn ends_with(field: Field, text: &str, value: &str) -> bool {
    let boundaries: &[char] = match field {
        Field::Registry => &['.'],
        Field::Image | Field::Repository => &['/', ':', '@'],
        _ => return text.ends_with(value),
    };
    let own = value.starts_with(|c: char| !c.is_ascii_alphanumeric());
    text.strip_suffix(value)
        .is_some_and(|rest| own || rest.is_empty() || rest.ends_with(boundaries))
}

impl Matcher {
    pub(super) fn matches(&self, target: &Target<'_>) -> bool {
        let field = self.field;
        match &self.test {
            Test::Equals(values) | Test::NotEquals(values) if field == Field::Workload => {
                let listed = |own: Workload<'_>| values.finds(|value| own.cmp_to(value).reverse());
                target.workloads().any(listed) == matches!(self.test, Test::Equals(_))
            }
            Test::Equals(values) => target.any(field, |text| values.contains(text)),
            Test::NotEquals(values) => !target.surely(field, |text| values.contains(text)),
            Test::StartsWith(values) => {
                target.any(field, |text| values.iter().any(|value| text.starts_with(&**value)))
            }
            Test::Within(values) => {
                target.any(field, |text| values.iter().any(|value| value.matches(text)))
            }
            Test::EndsWith(values) => {
                target.any(field, |text| values.iter().any(|value| ends_with(field, text, value)))
            }
            Test::Contains(values) => {
                target.any(field, |text| values.iter().any(|value| text.contains(&**value)))
            }
        }
    }

    fn excludes(&self, other: &Self) -> bool {
        // One image has several spellings, so that two of them exclude nothing.
        if self.field != other.field || self.field == Field::Image {
            return false;
        }
        match (&self.test, &other.test) {
            // So has a workload, of which each takes it in, and out.
            (Test::Equals(a), Test::Equals(b)) => self.field != Field::Workload && a.is_disjoint(b),
            (Test::Equals(a), Test::NotEquals(b)) => a.is_subset(b),
            _ => false,
        }
    }
}
