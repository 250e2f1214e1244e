//! (policy, evidence, context, time) in, a decision out.

use std::collections::BTreeMap;

/// Where an image would run. Empty fields were not given.
///
/// The cluster comes from whom the caller proved to be, where it had to prove it (DESIGN §8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Cloud provider: `azure`, `aws`, `gcp`.
    pub provider: String,
    /// Subscription, account or project.
    pub account: String,
    /// Region.
    pub region: String,
    /// Cluster.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Labels of the namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Kind of the workload: `Deployment`.
    pub workload_kind: String,
    /// Name of the workload.
    pub workload: String,
    /// Pod.
    pub pod: String,
    /// Labels of the pod.
    pub pod_labels: BTreeMap<String, String>,
    /// Service account.
    pub service_account: String,
    /// Container within the pod.
    pub container: String,
}
