//! A draw in, an `AdmissionReview` out: a pod of one of many applications, as the API server writes it when a
//! controller makes the pod.
//!
//! Pods of one application have the same images in the same namespace, and a name and a uid of their own.

use std::borrow::Cow;
use std::io::{self, Write as _};

use serde::Deserialize;

use super::Questions;
use crate::measure::Outcome;

/// What comes before the object.
const REQUEST: &str =
    r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":""#;
const REQUESTED: &str = r#"","kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"requestKind":{"group":"","version":"v1","kind":"Pod"},"requestResource":{"group":"","version":"v1","resource":"pods"},"#;
const USER: &str = r#""operation":"CREATE","userInfo":{"username":"system:serviceaccount:kube-system:replicaset-controller","uid":"0c1f7b4e-3f0e-4a44-9a0a-5b8f0a5d9c11","groups":["system:serviceaccounts","system:serviceaccounts:kube-system","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=5f0f2a6e-0a7b-4f0e-9a62-3f2d1c9f8e77"]}},"object":{"kind":"Pod","apiVersion":"v1","metadata":{"#;
/// What a container has beside its name and image.
const CONTAINER: &str = r#""args":["--listen=:8080","--metrics=:9090"],"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"LOG_LEVEL","value":"info"},{"name":"DATABASE_URL","valueFrom":{"secretKeyRef":{"name":"database","key":"url"}}}],"resources":{"limits":{"cpu":"1","memory":"512Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"volumeMounts":[{"name":"settings","mountPath":"/etc/service"},{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"livenessProbe":{"httpGet":{"path":"/livez","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent","securityContext":{"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}}"#;
/// What the API server remembers of who wrote which field of a container.
const MANAGED: &str = r#"{".":{},"f:args":{},"f:env":{".":{},"k:{\"name\":\"DATABASE_URL\"}":{".":{},"f:name":{},"f:valueFrom":{".":{},"f:secretKeyRef":{}}},"k:{\"name\":\"LOG_LEVEL\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}}},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},"f:resources":{".":{},"f:limits":{".":{},"f:cpu":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},"f:securityContext":{".":{},"f:allowPrivilegeEscalation":{},"f:capabilities":{".":{},"f:drop":{}},"f:readOnlyRootFilesystem":{}}}"#;
const VOLUMES: &str = r#""volumes":[{"name":"settings","configMap":{"name":"settings","defaultMode":420}},{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],"#;
const END: &str = r#"],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"service","serviceAccount":"service","securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},"status":{"phase":"Pending","qosClass":"Burstable"}},"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}"#;

/// The uid of the review with a number.
pub(crate) fn uid(id: u64) -> String {
    format!("{:08x}-7b7e-4c52-8f2d-{:012x}", id >> 48, id & 0xffff_ffff_ffff)
}

impl Questions {
    /// How many applications there are: each has so many images as a question is about.
    pub(super) fn applications(count: u32, containers: u32) -> u32 {
        (count / containers.max(1)).max(1)
    }

    /// Writes the review number `id`.
    pub(super) fn write_review(&mut self, id: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let application = self.pick();
        let (containers, namespace) = (self.asked.containers, application % 10);
        let uid = uid(id);
        write!(out, r#"{REQUEST}{uid}{REQUESTED}"namespace":"team-{namespace:02}",{USER}"#)?;
        write!(
            out,
            r#""generateName":"service-{application}-7d4b9c6f5-","namespace":"team-{namespace:02}","uid":"{uid}","creationTimestamp":"2026-11-28T01:00:00Z","labels":{{"app.kubernetes.io/name":"service-{application}","app.kubernetes.io/part-of":"shop","pod-template-hash":"7d4b9c6f5"}},"annotations":{{"prometheus.io/scrape":"true","request":"{id}"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"service-{application}-7d4b9c6f5","uid":"6e1c4f6d-5a0e-4d0d-8e39-0d6b2f0c7a51","controller":true,"blockOwnerDeletion":true}}],"managedFields":[{{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-11-28T01:00:00Z","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:generateName":{{}},"f:labels":{{".":{{}},"f:app.kubernetes.io/name":{{}},"f:pod-template-hash":{{}}}},"f:ownerReferences":{{".":{{}},"k:{{\"uid\":\"6e1c4f6d-5a0e-4d0d-8e39-0d6b2f0c7a51\"}}":{{}}}}}},"f:spec":{{"f:containers":{{"#
        )?;
        for container in 0..containers {
            let comma = if container == 0 { "" } else { "," };
            write!(out, r#"{comma}"k:{{\"name\":\"main-{container}\"}}":{MANAGED}"#)?;
        }
        write!(
            out,
            r#"}},"f:dnsPolicy":{{}},"f:restartPolicy":{{}},"f:serviceAccountName":{{}}}}}}}}]}},"spec":{{{VOLUMES}"containers":["#
        )?;
        for container in 0..containers {
            let comma = if container == 0 { "" } else { "," };
            write!(out, r#"{comma}{{"name":"main-{container}","image":""#)?;
            // Where there are fewer images than a pod has, some are there twice.
            let image = application.saturating_mul(containers) + container;
            let index = self.asked.from + image % self.asked.count.max(1);
            self.asked.images.write(index, self.asked.by_tag, out);
            write!(out, r#"",{CONTAINER}"#)?;
        }
        out.extend_from_slice(END.as_bytes());
        Ok(())
    }
}

/// What is read of the answer to a review.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    response: Response<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    allowed: bool,
    #[serde(borrow, default)]
    audit_annotations: Annotations<'a>,
}

#[derive(Default, Deserialize)]
struct Annotations<'a> {
    #[serde(borrow)]
    decision: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
}

/// What the answer to a review says, in words of its annotations.
pub(crate) struct Said {
    /// What was decided; `unknown` where nobody could.
    pub(crate) decision: String,
    /// Where that is from.
    pub(crate) source: String,
}

/// Reads the answer to the review number `id`. One that nobody decided about is no answer.
///
/// # Errors
/// What became of it instead.
pub(crate) fn read_answer(id: u64, body: &[u8]) -> Result<Said, Outcome> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| Outcome::Wrong)?;
    let Response { uid, allowed, audit_annotations } = answer.response;
    let decision = audit_annotations.decision.unwrap_or_default().into_owned();
    let is_allowed = ["allow", "audit"].contains(&&*decision);
    match &*decision {
        "allow" | "audit" | "deny" if uid == self::uid(id) && allowed == is_allowed => {
            let source = audit_annotations.source.unwrap_or_default().into_owned();
            Ok(Said { decision, source })
        }
        "unknown" => Err(Outcome::Undecided),
        _ => Err(Outcome::Wrong),
    }
}
