//! A question in, what its answer depends on out, as bytes.

use std::collections::HashMap;

use portcullis_proto::v1;

/// SHA-256, raw.
pub(super) type Digest = [u8; 32];

/// The fields of a context that an answer depends on, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask(u16);

const PROVIDER: u16 = 1;
const ACCOUNT: u16 = 1 << 1;
const REGION: u16 = 1 << 2;
const CLUSTER: u16 = 1 << 3;
const NAMESPACE: u16 = 1 << 4;
const NAMESPACE_LABELS: u16 = 1 << 5;
const WORKLOAD: u16 = 1 << 6;
const POD: u16 = 1 << 7;
const POD_LABELS: u16 = 1 << 8;
const SERVICE_ACCOUNT: u16 = 1 << 9;
const PLATFORMS: u16 = 1 << 10;

impl Mask {
    /// Reads `vary`; none where it has a word that is not known, of which nobody can say what it means.
    pub(super) fn read(vary: &[String]) -> Option<Self> {
        vary.iter().try_fold(Self(0), |mask, word| {
            let bit = match word.as_str() {
                "provider" => PROVIDER,
                "account" => ACCOUNT,
                "region" => REGION,
                "cluster" => CLUSTER,
                "namespace" => NAMESPACE,
                "namespace_labels" => NAMESPACE_LABELS,
                "workload" => WORKLOAD,
                "pod" => POD,
                "pod_labels" => POD_LABELS,
                "service_account" => SERVICE_ACCOUNT,
                "platforms" => PLATFORMS,
                // The containers are in every key, and a justification is in none.
                "container" | "image" | "registry" | "repository" | "break_glass" => 0,
                _ => return None,
            };
            Some(Self(mask.0 | bit))
        })
    }

    const fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }
}

/// What the answer to `request` depends on if it depends on the fields of `mask`. Every part has its
/// length before it, so that unlike questions are unlike.
pub(super) fn of(request: &v1::CheckRequest, mask: Mask) -> Box<[u8]> {
    let mut key = Key(Vec::with_capacity(256));
    key.0.extend(mask.0.to_be_bytes());
    key.count(request.containers.len());
    for v1::Container { name, image } in &request.containers {
        key.text(name);
        key.text(image);
    }
    let empty = v1::Context::default();
    let context = request.context.as_ref().unwrap_or(&empty);
    let cloud = context.cloud.as_ref();
    let workload = context.workload.as_ref();
    key.field(mask, PROVIDER, cloud.map_or("", |cloud| &cloud.provider));
    key.field(mask, ACCOUNT, cloud.map_or("", |cloud| &cloud.account));
    key.field(mask, REGION, cloud.map_or("", |cloud| &cloud.region));
    key.field(mask, CLUSTER, &context.cluster);
    key.field(mask, NAMESPACE, &context.namespace);
    key.labels(mask, NAMESPACE_LABELS, &context.namespace_labels);
    key.field(mask, WORKLOAD, workload.map_or("", |workload| &workload.kind));
    key.field(mask, WORKLOAD, workload.map_or("", |workload| &workload.name));
    key.field(mask, POD, &context.pod);
    key.labels(mask, POD_LABELS, &context.pod_labels);
    key.field(mask, SERVICE_ACCOUNT, &context.service_account);
    if mask.has(PLATFORMS) {
        key.count(context.platforms.len());
        context.platforms.iter().for_each(|platform| key.text(platform));
    }
    // What was advised is no admission.
    if request.purpose() == v1::Purpose::Advice {
        key.0.push(1);
    }
    key.0.into_boxed_slice()
}

struct Key(Vec<u8>);

impl Key {
    fn count(&mut self, count: usize) {
        self.0.extend((count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    fn field(&mut self, mask: Mask, bit: u16, text: &str) {
        if mask.has(bit) {
            self.text(text);
        }
    }

    fn labels(&mut self, mask: Mask, bit: u16, labels: &HashMap<String, String>) {
        if !mask.has(bit) {
            return;
        }
        let mut sorted: Vec<_> = labels.iter().collect();
        sorted.sort_unstable();
        self.count(sorted.len());
        for (label, value) in sorted {
            self.text(label);
            self.text(value);
        }
    }
}

/// Reads `sha256:` and 64 hexadecimal digits.
pub(super) fn digest(text: &str) -> Option<Digest> {
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64)?;
    let mut raw = [0; 32];
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    for (byte, [high, low]) in raw.iter_mut().zip(pairs) {
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(raw)
}
