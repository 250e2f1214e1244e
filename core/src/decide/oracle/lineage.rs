//! A context in, all that its workload belongs to out: the names that Kubernetes' controllers make.

use crate::decide::Context;

/// The characters that generated names end with.
const GENERATED: &str = "bcdfghjklmnpqrstvwxz2456789";

/// The workload and its owners, as `Kind/name`: a workload's exemption covers its `ReplicaSet`s and
/// pods.
pub(super) fn workloads(ctx: &Context) -> Vec<String> {
    let own = format!("{}/{}", ctx.workload_kind, ctx.workload);
    let pod = if ctx.pod.is_empty() { &ctx.workload } else { &ctx.pod };
    match ctx.workload_kind.as_str() {
        "" if ctx.workload.is_empty() => of_pod(&ctx.pod, ctx),
        "Pod" => [vec![own], of_pod(pod, ctx)].concat(),
        "ReplicaSet" => [vec![own], of_replica_set(&ctx.workload, ctx)].concat(),
        "Job" => [vec![own], of_job(&ctx.workload)].concat(),
        _ => vec![own],
    }
}

/// `web-hx2k4` is of a `ReplicaSet`, a `DaemonSet` or a Job `web`, and `web-0` of a `StatefulSet`.
fn of_pod(pod: &str, ctx: &Context) -> Vec<String> {
    let Some((owner, end)) = parts(pod) else { return Vec::new() };
    let mut owners = Vec::new();
    if end.len() == 5 && end.chars().all(|c| GENERATED.contains(c)) {
        owners.extend(["ReplicaSet", "DaemonSet", "Job"].map(|kind| format!("{kind}/{owner}")));
        owners.extend(of_replica_set(owner, ctx));
        owners.extend(of_job(owner));
    }
    if end.chars().all(|c| c.is_ascii_digit()) && (end.len() == 1 || !end.starts_with('0')) {
        owners.push(format!("StatefulSet/{owner}"));
    }
    owners
}

/// `web-6d4b75cb6d` is of a Deployment `web`; the pod's label says what the end is, if it is there.
fn of_replica_set(name: &str, ctx: &Context) -> Vec<String> {
    let Some((owner, end)) = parts(name) else { return Vec::new() };
    let is_hash = match ctx.pod_labels.get("pod-template-hash") {
        Some(hash) => hash == end,
        None => end.len() <= 10 && end.chars().all(|c| GENERATED.contains(c)),
    };
    if is_hash { vec![format!("Deployment/{owner}")] } else { Vec::new() }
}

/// `web-29000000` is of a `CronJob` `web`.
fn of_job(name: &str) -> Vec<String> {
    let Some((owner, end)) = parts(name) else { return Vec::new() };
    let is_time = end.len() >= 8 && end.chars().all(|c| c.is_ascii_digit());
    if is_time { vec![format!("CronJob/{owner}")] } else { Vec::new() }
}

/// What comes before and after the last `-`.
fn parts(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('-').filter(|(owner, end)| !owner.is_empty() && !end.is_empty())
}
