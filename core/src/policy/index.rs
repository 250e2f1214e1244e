//! Scopes in, the few that can cover a target out.
//!
//! A scope covers only what passes all of its matchers. So each item is kept under the values of one
//! of them, its *anchor*, and a target looks up what it has: what is kept under nothing of that is not
//! about it. What a matcher asks beyond is for [`Scope::covers`] to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::exemption::{IdTest, TextTest};
use super::labels::Operator;
use super::lineage::{self, Workload};
use super::scope::{Matcher, Test};
use super::{BreakGlass, Exemption, Field, IdKey, Policy, Rule, Scope, Target};
use crate::image::Digest;

/// The most vulnerabilities that one exemption is kept under, so that each is found once quickly.
const MAX_IDS: usize = 64;

/// Places of items in their list, in order.
type Items = Vec<u32>;
/// A table whose keys are of the policy. Who asks looks up in it and puts nothing in, so that it needs no hash that
/// withstands chosen keys.
type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
type ByText = HashMap<Box<str>, Items>;

/// Where the scopes of a policy are looked up.
#[derive(Debug, Clone, Default)]
pub(super) struct Indexes {
    rules: Index,
    exemptions: Index,
    break_glass: Index,
}

impl Indexes {
    /// Of enabled rules, and of all exemptions and break-glass entries.
    pub(super) fn new(
        rules: &[Rule],
        exemptions: &[Arc<Exemption>],
        break_glass: &[BreakGlass],
    ) -> Self {
        let enabled = (0..).zip(rules).filter(|(_, rule)| rule.enabled);
        let exemptions = (0..).zip(exemptions);
        let break_glass = (0..).zip(break_glass);
        Self {
            rules: Index::new(enabled.map(|(item, rule)| (item, anchors(&rule.scope).collect()))),
            exemptions: Index::new(exemptions.map(|(item, e)| (item, exemption_anchors(e)))),
            break_glass: Index::new(
                break_glass.map(|(item, entry)| (item, anchors(&entry.scope).collect())),
            ),
        }
    }
}

impl Policy {
    /// Calls `visit` with each enabled rule that is about `target`, once, in no order.
    pub(crate) fn rules_in_scope<'p>(
        &'p self,
        target: &Target<'_>,
        mut visit: impl FnMut(&'p Rule),
    ) {
        self.indexes.rules.candidates(target, |item| {
            if let Some(rule) = at(&self.rules, item)
                && rule.scope.covers(target)
            {
                visit(rule);
            }
        });
    }

    /// Calls `visit` with each exemption that can be about a manifest of `target` and about a finding
    /// whose names have a number of `keys`, or about the evidence, once, in no order. Whether it is,
    /// [`Exemption::covers`] and [`Exemption::exempts`] say.
    ///
    /// `digests` are what the manifest may be named by, and `keys` must be in order.
    pub(crate) fn exemptions_for<'p>(
        &'p self,
        target: &Target<'_>,
        digests: &[Digest],
        keys: &[(IdKey, u32)],
        mut visit: impl FnMut(&'p Arc<Exemption>),
    ) {
        let mut visit = |item| {
            if let Some(exemption) = at(&self.exemptions, item) {
                visit(exemption);
            }
        };
        let index = &self.indexes.exemptions;
        index.candidates(target, &mut visit);
        index.named(digests, keys, visit);
    }

    /// Calls `visit` with each break-glass entry that is about `target`, once, in no order.
    pub(crate) fn break_glass_in_scope<'p>(
        &'p self,
        target: &Target<'_>,
        mut visit: impl FnMut(&'p BreakGlass),
    ) {
        self.indexes.break_glass.candidates(target, |item| {
            if let Some(entry) = at(&self.break_glass, item)
                && entry.scope.covers(target)
            {
                visit(entry);
            }
        });
    }
}

fn at<T>(items: &[T], item: u32) -> Option<&T> {
    items.get(usize::try_from(item).ok()?)
}

/// Items by what their scopes ask for.
#[derive(Debug, Clone, Default)]
struct Index {
    /// Items whose matchers all ask for what cannot be looked up.
    general: Items,
    /// By the text of a field.
    equal: BTreeMap<Field, ByText>,
    /// By so many first bytes of the text of a field.
    starts: BTreeMap<(Field, usize), ByText>,
    /// By host, and path that an image is in.
    paths: ByText,
    /// By key and value of a label.
    labels: BTreeMap<Field, HashMap<Box<str>, ByText>>,
    /// By the digest of a manifest.
    digests: HashMap<Digest, Items>,
    /// By the number of a vulnerability: these have no gaps.
    ids: Vec<Items>,
    /// The vulnerabilities, in order, of those items that are kept under several.
    several: HashMap<u32, Vec<IdKey>>,
}

/// One value of a matcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Value<'s> {
    Equal(Field, &'s str),
    Start(Field, &'s str),
    Path(&'s str),
    Label(Field, &'s str, &'s str),
    Digest(Digest),
    Id(IdKey),
}

/// The values of one matcher, one of which a target must have.
type Anchor<'s> = Vec<Value<'s>>;

/// The matchers of `scope` that can be looked up.
fn anchors(scope: &Scope) -> impl Iterator<Item = Anchor<'_>> {
    let labels = scope.selectors.iter().flat_map(|(field, selector)| {
        let required = selector.requirements.iter().filter(|r| r.operator == Operator::In);
        required.map(|r| r.values.iter().map(|v| Value::Label(*field, &r.key, v)).collect())
    });
    scope.matchers.iter().filter_map(anchor).chain(labels)
}

fn anchor(matcher: &Matcher) -> Option<Anchor<'_>> {
    let field = matcher.field;
    match &matcher.test {
        // A workload has several spellings, of which few differ after the slash.
        Test::Equals(values) if field == Field::Workload => {
            Some(values.iter().map(|value| Value::Equal(field, lineage::base(value))).collect())
        }
        Test::Equals(values) => Some(values.iter().map(|v| Value::Equal(field, v)).collect()),
        Test::StartsWith(values) if !matches!(field, Field::Image | Field::Workload) => {
            let mut starts: Vec<&str> = values.iter().map(|value| &**value).collect();
            starts.sort_unstable();
            // A text that begins with two of them begins with the shorter one.
            starts.dedup_by(|later, first| later.starts_with(*first));
            Some(starts.into_iter().map(|start| Value::Start(field, start)).collect())
        }
        Test::Within(values) if matches!(field, Field::Image | Field::Repository) => {
            let mut paths: Vec<&str> = values.iter().map(|prefix| prefix.path()).collect();
            // In this order all paths within one follow it.
            paths.sort_unstable_by(|a, b| a.split('/').cmp(b.split('/')));
            paths.dedup_by(|later, first| {
                later
                    .strip_prefix(*first)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            Some(paths.into_iter().map(Value::Path).collect())
        }
        _ => None,
    }
}

fn exemption_anchors(exemption: &Exemption) -> Vec<Anchor<'_>> {
    let digests = exemption.images.iter().filter_map(|test| match test {
        // What is no digest is the text of none.
        TextTest::Equals(values) => {
            let digests = values.iter().filter_map(|value| value.parse().ok());
            Some(digests.map(Value::Digest).collect())
        }
        _ => None,
    });
    let ids = exemption.vulnerabilities.iter().filter_map(|test| match test {
        IdTest::Equals(values) if values.len() <= MAX_IDS => {
            Some(values.iter().map(|(key, _)| Value::Id(*key)).collect())
        }
        _ => None,
    });
    anchors(&exemption.scope).chain(digests).chain(ids).collect()
}

impl Index {
    /// Of items in order, each with the anchors that it could have. It gets the one whose values the
    /// fewest items ask for: that all rules name one registry says nothing, that two name one
    /// namespace does.
    fn new<'s>(items: impl Iterator<Item = (u32, Vec<Anchor<'s>>)>) -> Self {
        let items: Vec<_> = items.collect();
        let mut shared: HashMap<Value<'s>, usize> = HashMap::default();
        for value in items.iter().flat_map(|(_, anchors)| anchors).flatten() {
            *shared.entry(*value).or_default() += 1;
        }
        let hits = |anchor: &Anchor<'_>| -> usize {
            anchor.iter().map(|value| shared.get(value).copied().unwrap_or_default()).sum()
        };
        let mut index = Self::default();
        for (item, anchors) in items {
            match anchors.into_iter().min_by_key(hits) {
                Some(anchor) => index.keep(item, &anchor),
                None => index.general.push(item),
            }
        }
        index
    }

    fn keep(&mut self, item: u32, anchor: &[Value<'_>]) {
        for value in anchor {
            let items = self.under(*value);
            // An item may name a value twice.
            if items.last() != Some(&item) {
                items.push(item);
            }
        }
        let id = |value: &Value<'_>| if let Value::Id(key) = value { Some(*key) } else { None };
        let mut ids: Vec<IdKey> = anchor.iter().filter_map(id).collect();
        if ids.len() > 1 {
            ids.sort_unstable();
            self.several.insert(item, ids);
        }
    }

    fn under(&mut self, value: Value<'_>) -> &mut Items {
        match value {
            Value::Equal(field, text) => {
                self.equal.entry(field).or_default().entry(text.into()).or_default()
            }
            Value::Start(field, text) => {
                let starts = self.starts.entry((field, text.len())).or_default();
                starts.entry(text.into()).or_default()
            }
            Value::Path(path) => self.paths.entry(path.into()).or_default(),
            Value::Label(field, key, value) => {
                let keys = self.labels.entry(field).or_default();
                keys.entry(key.into()).or_default().entry(value.into()).or_default()
            }
            Value::Digest(digest) => self.digests.entry(digest).or_default(),
            Value::Id(key) => {
                let place = usize::try_from(key).unwrap_or_default();
                if place >= self.ids.len() {
                    self.ids.resize_with(place + 1, Items::new);
                }
                self.ids.get_mut(place).unwrap_or(&mut self.general)
            }
        }
    }

    /// Calls `visit` with each item that can be about `target` by its scope, once.
    fn candidates(&self, target: &Target<'_>, mut visit: impl FnMut(u32)) {
        // One text is looked up in each, and an item kept under several has no two that fit it.
        let mut all = |items: Option<&Items>| items.into_iter().flatten().for_each(|i| visit(*i));
        all(Some(&self.general));
        for (field, texts) in &self.equal {
            all(target.text(*field).and_then(|text| texts.get(text)));
        }
        for ((field, length), starts) in &self.starts {
            let start = target.text(*field).and_then(|text| text.get(..*length));
            all(start.and_then(|start| starts.get(start)));
        }
        for (field, keys) in &self.labels {
            for (key, value) in target.labels(*field).into_iter().flatten() {
                all(keys.get(&**key).and_then(|values| values.get(&**value)));
            }
        }
        if !self.paths.is_empty() {
            paths(target.name()).for_each(|path| all(self.paths.get(path)));
        }
        if let Some(texts) = self.equal.get(&Field::Image) {
            each_once(&target.spellings().filter_map(|image| texts.get(image)), &mut visit);
        }
        if let Some(texts) = self.equal.get(&Field::Workload) {
            let bases = target.workloads().map(Workload::base);
            each_once(&bases.filter_map(|base| texts.get(base)), &mut visit);
        }
    }

    /// Calls `visit` with each item that is kept under one of `digests`, or under one of `keys`, which
    /// are in order, once.
    fn named(&self, digests: &[Digest], keys: &[(IdKey, u32)], mut visit: impl FnMut(u32)) {
        each_once(&digests.iter().filter_map(|digest| self.digests.get(digest)), &mut visit);
        let mut before = None;
        for (key, _) in keys {
            if before.replace(*key) == Some(*key) {
                continue;
            }
            for item in at(&self.ids, *key).into_iter().flatten() {
                let earlier = self.several.get(item).into_iter().flatten();
                let has = |id: &IdKey| keys.binary_search_by_key(id, |(key, _)| *key).is_ok();
                if !earlier.take_while(|id| *id < key).any(has) {
                    visit(*item);
                }
            }
        }
    }
}

/// `name`, and all paths and the host that it is in.
fn paths(name: &str) -> impl Iterator<Item = &str> {
    let slashes = name.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
    slashes.filter_map(|(end, _)| name.get(..end)).chain([name])
}

/// Calls `visit` with each item of all `lists`, once.
fn each_once<'i>(lists: &(impl Iterator<Item = &'i Items> + Clone), mut visit: impl FnMut(u32)) {
    for (n, items) in lists.clone().enumerate() {
        for item in items {
            if !lists.clone().take(n).any(|earlier| earlier.binary_search(item).is_ok()) {
                visit(*item);
            }
        }
    }
}

#[cfg(test)]
mod tests;
