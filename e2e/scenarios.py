"""What somebody at a gated cluster sees, while all is well. Each function is one scenario, in this order."""

import base64
import itertools
import json
import socket
import ssl

from gate import HOST, RULES, VALIDATING, helm, metrics
from parts import Failed, openssl, until
from pods import container, owned, pod, workloads


def same(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: {found!r}, not {expected!r}")


def allowed(answer):
    if not answer.ok:
        raise Failed(f"it is not allowed: {answer}")
    return answer


def denied(answer, *says, by=VALIDATING):
    """It is denied by our webhook, and the text says so much."""
    text = f'admission webhook "{by}" denied the request: '
    if answer.ok or text not in answer.err:
        raise Failed(f"it is not denied by {by}: {answer}")
    for part in says:
        if part not in answer.err:
            raise Failed(f"the denial does not say `{part}`: {answer}")
    return answer


def warned(answer, *says):
    for part in says:
        if not any(part in warning for warning in answer.warnings):
            raise Failed(f"no warning says `{part}`: {answer}")
    long = [warning for warning in answer.warnings if len(warning) > 120]
    same("warnings of more than 120 characters", long, [])
    return answer


def create(t, document, *flags):
    return t.cluster.kubectl("create", "-f", "-", *flags, document=document)


def running_image(t, namespace, name, at=".spec.containers[0].image"):
    return t.cluster.must("get", "pod", name, "-n", namespace, "-o", f"jsonpath={{{at}}}").out


def annotations(t, namespace, name):
    """What the audit log notes about the last change of a pod."""
    return t.cluster.audited(resource="pods", namespace=namespace, name=name)[-1]["annotations"]


def absent(t, kind, namespace, name):
    if "NotFound" not in t.cluster.kubectl("get", kind, name, "-n", namespace).err:
        raise Failed(f"{kind} {name} is there")


def an_image_without_findings_runs(t):
    answer = allowed(create(t, pod("clean", "shop", t.gate.image("clean"))))
    same("warnings", answer.warnings, [])
    found = annotations(t, "shop", "clean")
    if not any(key.startswith(f"{VALIDATING}/") for key in found):
        raise Failed(f"the audit log has no annotation of ours: {found}")


def a_denial_says_why(t):
    document = pod("critical", "shop", t.gate.image("critical"))
    denied(create(t, document), t.gate.image("critical"), "no-known-high-risk", "critical", "CVE-2022-1292")
    absent(t, "pod", "shop", "critical")


def each_kind_of_distrust_is_denied(t):
    for name, says in {"unscanned": "nscanned", "unsigned": "signed", "tampered": "trusted", "multi": "critical"}.items():
        denied(create(t, pod(name, "shop", t.gate.image(name))), t.gate.image(name), says)


def t057_init_containers_and_sidecars_count(t):
    bad = t.gate.image("critical")
    for more in ({}, {"restartPolicy": "Always"}):
        inits = [container(bad, "first", **more)]
        denied(create(t, pod("inits", "shop", t.gate.image("clean"), initContainers=inits)), bad)


def t059_image_volumes_count(t):
    bad = t.gate.image("critical")
    volumes = [{"name": "model", "image": {"reference": bad}}]
    denied(create(t, pod("volumes", "shop", t.gate.image("clean"), volumes=volumes)), bad)


def t058_ephemeral_containers_count(t):
    def debug(name, image):
        patch = {"spec": {"ephemeralContainers": [container(image, name)]}}
        return t.cluster.kubectl(
            "patch", "pod", "clean", "-n", "shop", "--subresource", "ephemeralcontainers", "--patch-file", "/dev/stdin",
            document=patch)

    denied(debug("bad", t.gate.image("critical")), t.gate.image("critical"))
    allowed(debug("good", t.gate.image("clean")))
    denied(debug("unscanned", t.gate.image("unscanned")), t.gate.image("unscanned"))


def t060_an_update_of_an_image_counts(t):
    def update(image):
        return t.cluster.kubectl("set", "image", "pod/clean", f"main={image}", "-n", "shop")

    before = running_image(t, "shop", "clean")
    denied(update(t.gate.image("critical")), t.gate.image("critical"))
    same("image", running_image(t, "shop", "clean"), before)
    same_image = t.gate.image("clean").removesuffix(":1.0") + "@" + t.gate.digest("clean")
    allowed(update(same_image))
    same("image", running_image(t, "shop", "clean"), same_image)


def t062_what_runs_already_can_be_labelled_and_deleted(t):
    # It came before the gate.
    t.gate.uninstall()
    allowed(create(t, pod("older", "shop", t.gate.image("critical"))))
    t.gate.install()
    t.gate.in_force()
    allowed(t.cluster.kubectl("label", "pod", "older", "-n", "shop", "team=web"))
    allowed(t.cluster.kubectl("annotate", "pod", "older", "-n", "shop", "note=seen"))
    allowed(t.cluster.kubectl("delete", "pod", "older", "-n", "shop", "--now"))


def makers_of_pods_are_warned_about(t):
    bad = t.gate.image("critical")
    for document in workloads("shop", bad):
        answer = warned(allowed(create(t, document)), "critical")
        if not answer.warnings:
            raise Failed(f"{document['kind']}: no warning")
    for document in workloads("calm", t.gate.image("clean")):
        same(f"warnings of {document['kind']}", allowed(create(t, document)).warnings, [])


def their_pods_are_denied(t):
    bad = t.gate.image("critical")
    for kind, version in {"ReplicaSet": "apps/v1", "Job": "batch/v1"}.items():
        document = owned(pod("made", "shop", bad), kind, f"one-{kind.lower()}", version)
        denied(create(t, document), bad)


def scaling_is_never_stopped(t):
    for kind in ("deployment", "replicaset", "statefulset"):
        allowed(t.cluster.kubectl("scale", f"{kind}/one-{kind}", "--replicas=0", "-n", "shop"))


def an_audit_rule_warns(t):
    warned(allowed(create(t, pod("watched", "audited", t.gate.image("critical")))), "demo/critical:1.0", "critical or higher")
    if "tell-of-criticals" not in str(annotations(t, "audited", "watched")):
        raise Failed(f"the audit log does not name the rule: {annotations(t, 'audited', 'watched')}")


def what_was_checked_is_what_runs(t):
    pinned = f"{t.gate.image('clean')}@{t.gate.digest('clean')}"
    document = pod("applied", "shop", t.gate.image("clean"))
    document["spec"]["initContainers"] = [container(t.gate.image("clean"), "first")]
    # Applied again, it is what it was.
    for _ in range(2):
        allowed(t.cluster.kubectl("apply", "-f", "-", document=document))
        for at in (".spec.containers[0].image", ".spec.initContainers[0].image"):
            same(at, running_image(t, "shop", "applied", at), pinned)
    # What makes pods is left as it was written.
    found = t.cluster.must("get", "deployment", "one-deployment", "-n", "calm", "-o",
                           "jsonpath={.spec.template.spec.containers[0].image}").out
    same("image of a deployment", found, t.gate.image("clean"))


def t068_a_dry_run_decides_and_changes_nothing(t):
    denied(create(t, pod("dry", "shop", t.gate.image("critical")), "--dry-run=server"), t.gate.image("critical"))
    allowed(create(t, pod("dry", "shop", t.gate.image("clean")), "--dry-run=server"))
    absent(t, "pod", "shop", "dry")


def t064_a_tenant_cannot_label_itself_out(t):
    for label in ("admission.gatekeeper.sh/ignore=true", "portcullis.dev/ignore=true", "control-plane=true",
                  "kubernetes.io/metadata.name=kube-system"):
        t.cluster.kubectl("label", "namespace", "shop", label, "--overwrite")
        denied(create(t, pod("labelled", "shop", t.gate.image("critical"))))


def t069_many_containers_are_one_question(t):
    names = ["clean", "critical", "unscanned", "tampered", "unsigned"]
    containers = [container(t.gate.image(names[at % 5]), f"c{at}") for at in range(50)]
    document = pod("many", "shop", t.gate.image("clean"))
    document["spec"]["containers"] = containers
    denied(create(t, document), *(t.gate.image(name) for name in names[1:]))


def t071_what_is_changed_after_us_is_seen(t):
    # It waits until our webhook has pinned the image, and is asked again because of that.
    policy = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
              "metadata": {"name": "swap"},
              "spec": {"reinvocationPolicy": "IfNeeded", "failurePolicy": "Fail",
                       "matchConstraints": {"resourceRules": [{
                           "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
                       "matchConditions": [{"name": "this", "expression": "object.metadata.name == 'swapped'"}],
                       "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
                           "object.spec.containers[0].image.contains('@') ? [JSONPatch{op: 'replace', "
                           f"path: '/spec/containers/0/image', value: '{t.gate.image('critical')}'}}] : []"}}]}}
    binding = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
               "metadata": {"name": "swap"}, "spec": {"policyName": "swap"}}
    for document in (policy, binding):
        t.cluster.must("create", "-f", "-", document=document)
    document = pod("swapped", "shop", t.gate.image("clean"))
    until("a policy that is in force", lambda: not t.gate.probe(document).ok, 60)
    denied(create(t, document), t.gate.image("critical"))
    for document in (binding, policy):
        t.cluster.must("delete", document["kind"], "swap")


def t067_only_the_api_server_is_answered(t):
    review = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "forged"}})

    def ask(*pair):
        tls = ssl.create_default_context(cafile=t.gate.authority.cert)
        if pair:
            tls.load_cert_chain(*pair)
        with socket.create_connection(("127.0.0.1", t.gate.port), timeout=10) as plain:
            with tls.wrap_socket(plain, server_hostname=HOST) as connection:
                head = f"POST /validate HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
                connection.sendall(f"{head}Content-Length: {len(review)}\r\n\r\n{review}".encode())
                return connection.recv(4096).decode().split("\r\n")[0]

    pki = t.cluster.folder / "pki"
    found = ask(pki / "webhook-client.crt", pki / "webhook-client.key")
    if not found.startswith("HTTP/1.1 "):
        raise Failed(f"the API server itself is not answered: {found!r}")
    strange = t.gate.authority.issue("stranger", "/CN=stranger", "clientAuth")
    for pair in ((), strange):
        try:
            found = ask(*pair)
        except OSError:
            # The handshake failed.
            continue
        if found and not found.startswith("HTTP/1.1 401 "):
            raise Failed(f"somebody else is answered: {found}")


def break_glass_is_told(t):
    document = pod("urgent", "broken", t.gate.image("critical"))
    denied(create(t, document), t.gate.image("critical"))
    document["metadata"]["annotations"] = {"portcullis.dev/break-glass": "outage 4711"}
    warned(allowed(create(t, document)), "demo/critical:1.0", "critical or higher")
    wanted = {"action": "audit", "namespace": "broken", "pod": "urgent", "justification": "outage 4711"}
    recorded(t, wanted)


def a_denial_is_recorded(t):
    wanted = {"action": "deny", "cluster": "e2e", "namespace": "shop", "pod": "critical", "container": "main",
              "rule": "no-known-high-risk", "digest": t.gate.digest("critical")}
    recorded(t, wanted)


def recorded(t, wanted):
    """The service's record has a decision as wanted."""
    events = [event for event in t.gate.events() if event["kind"] == "decision"]
    if not any(all(event.get(field) == value for field, value in wanted.items()) for event in events):
        raise Failed(f"no event has {wanted}; the last: {events[-1:]}")


def the_near_cache_is_told(t):
    """What it answers is in the record, and of rules that change it hears before its answers' time, a minute, is over."""
    numbers = itertools.count()

    def hits():
        return metrics(t.gate.replica[1])["portcullis_shim_near_hits_total"]

    def ask():
        document = pod(f"near-{next(numbers)}", "shop", t.gate.image("clean"))
        return document["metadata"]["name"], create(t, document)

    def near():
        before, (name, answer) = hits(), ask()
        allowed(answer)
        return hits() > before and name

    name = until("an answer of the near cache", near, 30, [t.gate.shim, t.gate.service])

    def told():
        events = [event for event in t.gate.events() if event.get("pod") == name]
        return [event.get("answered", {}).get("by") for event in events] == ["near_cache"]

    until("its event, and no other", told, 30, [t.gate.shim, t.gate.service])
    rules = t.gate.folder / "service/rules.yaml"
    rules.write_text(RULES.replace("blockUnscannedImages: true", "blockUnscannedImages: true\n      maxFindingsAge: 1s"))
    until("a denial by the new rules", lambda: not ask()[1].ok, 30, [t.gate.shim, t.gate.service])
    denied(ask()[1], t.gate.image("clean"))
    rules.write_text(RULES)
    until("the rules of before", lambda: ask()[1].ok, 30, [t.gate.shim, t.gate.service])


def the_chart_installs_and_upgrades_harmlessly(t):
    # Nobody is at its service's address, and it says Ignore: it stops nothing in the meantime.
    t.cluster.namespace("second", {"pod-security.kubernetes.io/enforce": "restricted"})
    flags = [t.gate.chart, "--namespace", "second"]
    helm(t.cluster, "install", "second", *flags)
    # Its pods are such as the strictest of Kubernetes' own standards demands.
    deployments = t.cluster.must("get", "deployments", "-n", "second", "-o", "json").json()["items"]
    same("deployments", len(deployments), 2)
    for deployment in deployments:
        made = {"apiVersion": "v1", "kind": "Pod", **deployment["spec"]["template"]}
        made["metadata"] = {"name": "made", "namespace": "second", "labels": made["metadata"]["labels"]}
        allowed(create(t, made, "--dry-run=server"))
    before = secrets(t)
    bundles = {hook["clientConfig"]["caBundle"] for document in hooks(t, "second") for hook in document["webhooks"]}
    same("bundles", len(bundles), 1)
    for name in ("service", "shim", "client"):
        for key, value in (("ca", bundles), ("cert", [before[f"second-portcullis-{name}-tls"]["tls.crt"]])):
            (t.gate.folder / f"{key}.pem").write_bytes(base64.b64decode(next(iter(value))))
        openssl("verify", "-CAfile", t.gate.folder / "ca.pem", t.gate.folder / "cert.pem")
    helm(t.cluster, "upgrade", "second", *flags, "--set", "shim.replicas=3")
    after = secrets(t)
    same("secrets that an upgrade changed", [name for name in before if before[name] != after.get(name)], [])
    same("replicas", t.cluster.must("get", "deployment", "second-portcullis-shim", "-n", "second", "-o",
                                    "jsonpath={.spec.replicas}").out, "3")
    helm(t.cluster, "uninstall", "second", "--namespace", "second")
    same("webhooks after all", hooks(t, "second"), [])


def secrets(t):
    """The data of the secrets of the second release, by name."""
    items = t.cluster.must("get", "secrets", "-n", "second", "-o", "json").json()["items"]
    return {item["metadata"]["name"]: item["data"] for item in items if not item["type"].startswith("helm.sh/")}


def hooks(t, release):
    kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
    return t.cluster.must("get", kinds, "-l", f"app.kubernetes.io/instance={release}", "-o", "json").json()["items"]


ALL = [
    an_image_without_findings_runs,
    a_denial_says_why,
    each_kind_of_distrust_is_denied,
    t057_init_containers_and_sidecars_count,
    t059_image_volumes_count,
    t058_ephemeral_containers_count,
    t060_an_update_of_an_image_counts,
    t062_what_runs_already_can_be_labelled_and_deleted,
    makers_of_pods_are_warned_about,
    their_pods_are_denied,
    scaling_is_never_stopped,
    an_audit_rule_warns,
    what_was_checked_is_what_runs,
    t068_a_dry_run_decides_and_changes_nothing,
    t064_a_tenant_cannot_label_itself_out,
    t069_many_containers_are_one_question,
    t071_what_is_changed_after_us_is_seen,
    t067_only_the_api_server_is_answered,
    break_glass_is_told,
    a_denial_is_recorded,
    the_near_cache_is_told,
    the_chart_installs_and_upgrades_harmlessly,
]
