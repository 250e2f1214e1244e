//! What a context says of a workload in, everything that the workload belongs to out.
//!
//! A pod, its `ReplicaSet` and its Deployment are asked about one by one, and a matcher or an
//! exemption for one of them is meant for those below it too (DESIGN §4). Where the context does not
//! say what owns a workload, the names that Kubernetes' controllers make do.

use std::cmp::Ordering;

use crate::decide::Context;

/// The label by which a Deployment knows its `ReplicaSet`s and their pods.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The longest hash of a pod template, in characters: one for each decimal digit of a `u32`.
const MAX_HASH: usize = 10;
/// How many characters end a generated name (`k8s.io/apiserver/pkg/storage/names`).
const SUFFIX: usize = 5;
/// The fewest digits by which a `CronJob` says for when a Job is: minutes since 1970.
const MIN_TIME: usize = 8;
/// The longest `Kind/name` that is put together without asking the allocator, in bytes: a name has
/// at most 253 (RFC 1123 subdomain), a kind 63.
const MAX_SPELLING: usize = 320;

/// A workload as matchers name it: `Kind/name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Workload<'a> {
    kind: &'a str,
    name: &'a str,
}

impl<'a> Workload<'a> {
    /// What comes after the last slash of `Kind/name`.
    pub(super) fn base(self) -> &'a str {
        base(self.name)
    }

    /// The order of `Kind/name` to `text`.
    pub(super) fn cmp_to(self, text: &str) -> Ordering {
        let mut rest = text.as_bytes();
        for part in [self.kind, "/", self.name] {
            let (start, after) = rest.split_at_checked(part.len()).unwrap_or((rest, &[]));
            match part.as_bytes().cmp(start) {
                Ordering::Equal => rest = after,
                order => return order,
            }
        }
        if rest.is_empty() { Ordering::Equal } else { Ordering::Less }
    }

    /// What `test` says of `Kind/name`.
    pub(super) fn spelled(self, test: impl FnOnce(&str) -> bool) -> bool {
        let mut buffer = [0; MAX_SPELLING];
        let mut length = 0;
        for part in [self.kind, "/", self.name] {
            let end = length + part.len();
            let Some(place) = buffer.get_mut(length..end) else {
                return test(&format!("{}/{}", self.kind, self.name));
            };
            place.copy_from_slice(part.as_bytes());
            length = end;
        }
        let text = buffer.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        text.is_some_and(test)
    }
}

/// What comes after the last slash.
pub(super) fn base(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or_default()
}

/// A workload and all that it belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lineage<'a>([Option<Workload<'a>>; 7]);

impl<'a> Lineage<'a> {
    /// What the context says: the workload, and
    ///
    /// - of a `ReplicaSet` `web-<hash>` the Deployment `web`. The hash is that of the pod label
    ///   `pod-template-hash`; without the label, 1 to 10 safe characters,
    ///   see [`is_safe`].
    /// - of a Job `x-<8 or more digits>` the `CronJob` `x`.
    /// - of a pod, and where no workload is named, by the pod's name: of `x-<5 safe characters>` the
    ///   `ReplicaSet`, the `DaemonSet` and the Job `x`, with what these belong to; of `x-<number>`
    ///   the `StatefulSet` `x`.
    ///
    /// These are guesses where the context does not name the owner: whoever may name a pod may give it
    /// such a name, as they may make such an owner. A name that Kubernetes had to cut, because with
    /// its end it would be longer than 63 characters, shows no owner.
    pub(super) fn of(ctx: &'a Context) -> Self {
        let (kind, name) = (&*ctx.workload_kind, &*ctx.workload);
        let is_named = !kind.is_empty() || !name.is_empty();
        let own = is_named.then_some(Workload { kind, name });
        let of_pod = |pod| {
            let owner = generated(pod);
            let [replica_set, daemon_set, job] =
                ["ReplicaSet", "DaemonSet", "Job"].map(|kind| named(kind, owner));
            let deployment = owner.and_then(|owner| deployment(owner, ctx));
            let cron_job = owner.and_then(cron_job);
            let stateful_set = named("StatefulSet", stateful_set(pod));
            Self([own, replica_set, deployment, daemon_set, job, cron_job, stateful_set])
        };
        let with = |owner| Self([own, owner, None, None, None, None, None]);
        match kind {
            "ReplicaSet" => with(deployment(name, ctx)),
            "Job" => with(cron_job(name)),
            "Pod" if ctx.pod.is_empty() => of_pod(name),
            "Pod" => of_pod(&ctx.pod),
            "" if !is_named => of_pod(&ctx.pod),
            _ => with(None),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Workload<'a>> + Clone {
        self.0.iter().flatten().copied()
    }
}

fn named<'a>(kind: &'static str, name: Option<&'a str>) -> Option<Workload<'a>> {
    name.map(|name| Workload { kind, name })
}

/// The Deployment that made a `ReplicaSet`.
fn deployment<'a>(replica_set: &'a str, ctx: &Context) -> Option<Workload<'a>> {
    let fits = |end: &str| match ctx.pod_labels.get(TEMPLATE_HASH) {
        Some(hash) => end == hash,
        None => end.len() <= MAX_HASH && is_safe(end),
    };
    named("Deployment", without_end(replica_set, fits))
}

/// The `CronJob` that made a Job.
fn cron_job(job: &str) -> Option<Workload<'_>> {
    named("CronJob", without_end(job, |end| end.len() >= MIN_TIME && is_number(end)))
}

/// What a name was generated from.
fn generated(name: &str) -> Option<&str> {
    without_end(name, |end| end.len() == SUFFIX && is_safe(end))
}

/// The `StatefulSet` whose pod has this name.
fn stateful_set(pod: &str) -> Option<&str> {
    without_end(pod, |end| is_number(end) && (end == "0" || !end.starts_with('0')))
}

/// What comes before the last `-`, if what comes after it fits.
fn without_end(name: &str, fits: impl FnOnce(&str) -> bool) -> Option<&str> {
    let (start, end) = name.rsplit_once('-')?;
    (!start.is_empty() && !end.is_empty() && fits(end)).then_some(start)
}

/// Whether there are only letters and digits that Kubernetes makes names of
/// (`k8s.io/apimachinery/pkg/util/rand`): `bcdfghjklmnpqrstvwxz2456789`, without vowels and what looks
/// like them, so that no words come out.
fn is_safe(text: &str) -> bool {
    text.bytes().all(|b| match b {
        b'a'..=b'z' => !matches!(b, b'a' | b'e' | b'i' | b'o' | b'u' | b'y'),
        b'0'..=b'9' => !matches!(b, b'0' | b'1' | b'3'),
        _ => false,
    })
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ctx(workload: &str, pod: &str, hash: Option<&str>) -> Context {
        let (kind, name) = workload.split_once('/').unwrap_or_default();
        Context {
            workload_kind: kind.to_owned(),
            workload: name.to_owned(),
            pod: pod.to_owned(),
            pod_labels: hash
                .map(|h| (TEMPLATE_HASH.to_owned(), h.to_owned()))
                .into_iter()
                .collect(),
            ..Context::default()
        }
    }

    /// What comes with `workload` beside itself.
    #[track_caller]
    fn check(workload: &str, pod: &str, hash: Option<&str>, owners: &[&str]) {
        let ctx = ctx(workload, pod, hash);
        let mut found = Vec::new();
        for workload in Lineage::of(&ctx).iter() {
            assert!(workload.spelled(|text| {
                found.push(text.to_owned());
                true
            }));
        }
        if !workload.is_empty() {
            assert_eq!(found.remove(0), workload);
        }
        assert_eq!(found, owners, "{workload} {pod} {hash:?}");
    }

    #[test]
    fn a_replica_set_belongs_to_its_deployment() {
        check("ReplicaSet/web-6d4b75cb6d", "", None, &["Deployment/web"]);
        check("ReplicaSet/web-api-5c689d88bb", "", None, &["Deployment/web-api"]);
        check("ReplicaSet/web-7", "", None, &["Deployment/web"]);
        let hash = Some("6d4b75cb6d");
        check("ReplicaSet/web-6d4b75cb6d", "web-6d4b75cb6d-hx2k4", hash, &["Deployment/web"]);
        // Before 1.12 it was a number.
        check("ReplicaSet/web-1530241079", "", Some("1530241079"), &["Deployment/web"]);
    }

    #[test]
    fn what_is_nearly_the_name_of_a_replica_set_has_no_deployment() {
        for name in [
            "web",
            "web-",
            "-6d4b75cb6d",
            "web-a",
            "web-api",
            "web-6D4B75CB6D",
            "web-6d4b75cb6d7",
            "web-1530241079",
            "web_6d4b75cb6d",
            "web-6d4b75cb6\u{e9}",
        ] {
            check(&format!("ReplicaSet/{name}"), "", None, &[]);
        }
        check("ReplicaSet/web-6d4b75cb6d", "", Some("5c689d88bb"), &[]);
        check("ReplicaSet/web-6d4b75cb6d", "", Some("cb6d"), &[]);
        check("ReplicaSet/web-", "", Some(""), &[]);
        check("replicaset/web-6d4b75cb6d", "", None, &[]);
        check("DaemonSet/web-6d4b75cb6d", "web-6d4b75cb6d-hx2k4", None, &[]);
        check("Deployment/web-6d4b75cb6d", "", None, &[]);
    }

    #[test]
    fn a_job_belongs_to_its_cron_job() {
        check("Job/backup-29384760", "", None, &["CronJob/backup"]);
        check("Job/backup-1700000000", "", None, &["CronJob/backup"]);
        for name in ["backup", "backup-2938476", "backup-2938476x", "29384760", "-29384760"] {
            check(&format!("Job/{name}"), "", None, &[]);
        }
    }

    #[test]
    fn a_pod_belongs_to_what_its_name_was_made_from() {
        let of_web = [
            "ReplicaSet/web-6d4b75cb6d",
            "Deployment/web",
            "DaemonSet/web-6d4b75cb6d",
            "Job/web-6d4b75cb6d",
        ];
        let pod = "web-6d4b75cb6d-hx2k4";
        check("", pod, None, &of_web);
        check(&format!("Pod/{pod}"), pod, None, &of_web);
        check(&format!("Pod/{pod}"), "", Some("6d4b75cb6d"), &of_web);
        check("", pod, Some("5c689d88bb"), &[of_web[0], of_web[2], of_web[3]]);
        check("", "agent-x2k4z", None, &["ReplicaSet/agent", "DaemonSet/agent", "Job/agent"]);
        check("", "db-0", None, &["StatefulSet/db"]);
        check("", "my-db-12", None, &["StatefulSet/my-db"]);
        check(
            "",
            "backup-29384760-wq7nc",
            None,
            &[
                "ReplicaSet/backup-29384760",
                "DaemonSet/backup-29384760",
                "Job/backup-29384760",
                "CronJob/backup",
            ],
        );
        // A number can be of both kinds.
        check("", "db-24567", None, &["ReplicaSet/db", "DaemonSet/db", "Job/db", "StatefulSet/db"]);
    }

    #[test]
    fn what_is_nearly_the_name_of_a_made_pod_belongs_to_nothing() {
        for pod in [
            "",
            "web",
            "web-x",
            "web-hx2k",
            "web-hx2k44",
            "web-HX2K4",
            "web-hx2ka",
            "-hx2k4",
            "db-007",
        ] {
            check("", pod, None, &[]);
        }
        // What owns it is said.
        check("StatefulSet/db", "db-0", None, &[]);
        check("/web", "web-6d4b75cb6d-hx2k4", None, &[]);
    }

    #[test]
    fn a_spelling_is_compared_as_its_text_is() {
        let texts = ["", "a", "a/", "a/b", "a/bc", "a/bc/", "a0/b", "b", "b/", "b/a", "\u{e9}/b"];
        for own in ["a/", "a/b", "a/bc", "b/a", "\u{e9}/b"] {
            let (kind, name) = own.split_once('/').unwrap();
            for text in texts {
                assert_eq!(Workload { kind, name }.cmp_to(text), own.cmp(text), "{own} {text}");
            }
        }
    }

    #[test]
    fn a_spelling_may_be_longer_than_names_can_be() {
        for length in [MAX_SPELLING - 4, MAX_SPELLING - 3] {
            let name = "n".repeat(length);
            check(&format!("Pod/{name}"), "", None, &[]);
        }
    }
}
