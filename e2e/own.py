"""A shim that makes its own certificate, as the chart has it: under load, and through upgrades of the release."""

import base64
import json
import pathlib
import socket
import ssl
import threading
import time

from gate import CLUSTER, HOST, NAMESPACE, START, helm, ready
from load import Load
from parts import Failed, Program, until
from pods import pod
from scenarios import same

# How long certificates and authorities live, in seconds, and for how long it is looked at them.
CERTIFICATE, AUTHORITY, WATCHED = 18, 54, 85
MODE = "tls.mode=self,webhook.pinning.enabled=true"


def documents(t, text):
    """What helm renders, one object after the other."""
    rest, found = t.cluster.must("create", "-f", "-", "--dry-run=client", "-o", "json", text=text).out.strip(), []
    while rest:
        document, end = json.JSONDecoder().raw_decode(rest)
        found.extend(document["items"] if document["kind"] == "List" else [document])
        rest = rest[end:].strip()
    return found


def start(t, name, namespace, ports, config, account, lives):
    """A shim by the configuration that the chart has for it, with the token of its service account."""
    token = t.gate.folder / f"{name}.token"
    token.write_text(t.cluster.must("create", "token", account, "-n", namespace, "--duration=1h").out)
    config["tls"]["self"] |= {
        "apiServer": f"https://127.0.0.1:{t.cluster.port}", "tokenFile": str(token),
        "caFile": str(t.cluster.authority.cert), **lives,
    }
    config["tls"]["clientCaFile"] = str(t.cluster.authority.cert)
    config |= {
        "listen": f"127.0.0.1:{ports[0]}", "admin": f"127.0.0.1:{ports[1]}", "drain": "1s",
        "service": {"servers": [f"https://localhost:{t.gate.grpc}"], "tls": {
            "caFile": str(t.gate.mutual.cert),
            "certificateFile": t.gate.pki(f"{CLUSTER}.crt"), "keyFile": t.gate.pki(f"{CLUSTER}.key")}},
        "context": {"cluster": CLUSTER},
        "lastKnown": {"file": str(t.gate.folder / f"{name}.known")},
        "reports": {"file": str(t.gate.folder / f"{name}.reports")},
    }
    path = pathlib.Path(t.gate.folder, f"{name}.yaml")
    path.write_text(json.dumps(config))
    return Program(name, [t.gate.command, "shim", "--config", path], t.gate.folder)


def configured(found, name):
    """The shim's configuration among what the chart renders; YAML is read by the API server's own tool."""
    [document] = [each for each in found if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name]
    return document["data"]["shim.yaml"]


def parsed(t, text):
    """YAML as JSON, by kubectl: an object of any kind will do for it."""
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    document = f"apiVersion: e2e/v1\nkind: Config\nmetadata: {{name: config}}\nspec:\n{lines}"
    return json.loads(t.cluster.must("label", "--local", "-f", "-", "a=b", "-o", "json", text=document).out)["spec"]


def bundles(t, name):
    """By whom the API server knows each webhook now."""
    kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
    items = t.cluster.must("get", kinds, "-o", "json").json()["items"]
    hooks = [hook for each in items if each["metadata"]["name"] == name for hook in each["webhooks"]]
    return [base64.b64decode(hook["clientConfig"].get("caBundle", "")).decode() for hook in hooks]


def held(t, namespace, name):
    data = t.cluster.must("get", "secret", name, "-n", namespace, "-o", "json").json().get("data", {})
    return {key: base64.b64decode(text).decode() for key, text in data.items()}


class Watch:
    """Shakes hands with each replica all the time, by what the API server knows at that moment."""

    def __init__(self, t, ports):
        self.t, self.ports, self.end = t, ports, threading.Event()
        self.shown, self.wrong, self.count = set(), [], 0
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()

    def _run(self):
        while not self.end.is_set():
            try:
                for port in self.ports:
                    try:
                        self._shake(port)
                    except ssl.SSLError:
                        # The other may have had news between the two questions.
                        self._shake(port)
            except (OSError, ValueError, Failed) as error:
                self.wrong.append(str(error))

    def _shake(self, port):
        for bundle in set(bundles(self.t, f"{NAMESPACE}.{NAMESPACE}")):
            tls = ssl.create_default_context(cadata=bundle)
            pki = self.t.cluster.folder / "pki"
            tls.load_cert_chain(pki / "webhook-client.crt", pki / "webhook-client.key")
            with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
                with tls.wrap_socket(plain, server_hostname=HOST) as connection:
                    self.shown.add(connection.getpeercert()["serialNumber"])
            self.count += 1


def t152_a_shim_renews_its_own_certificate_and_authority_under_load(t):
    gate = t.gate
    gate.uninstall()
    gate.shim.stop()
    values = f"{MODE},webhook.failurePolicy=Fail"
    show = [part for name in ("webhooks", "rights", "tls", "shim") for part in ("--show-only", f"templates/{name}.yaml")]
    text = helm(t.cluster, "template", NAMESPACE, gate.chart, "--namespace", NAMESPACE, *show, "--set", values)
    found = documents(t, text)
    own = f"{NAMESPACE}-shim"
    wanted = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount",
              "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
    gate.installed = []
    for document in found:
        if document["kind"] not in wanted and document["metadata"]["name"] != f"{own}-own":
            continue
        if document["kind"].endswith("WebhookConfiguration"):
            for hook in document["webhooks"]:
                # All is as the chart has it, but the port.
                hook["clientConfig"]["service"]["port"] = gate.port
            gate.installed.append(document)
        if document["kind"] in ("Role", "RoleBinding", "ServiceAccount", "Secret"):
            document["metadata"]["namespace"] = NAMESPACE
        t.cluster.must("apply", "-f", "-", document=document)
    same("what is known of the shim", set(bundles(t, f"{NAMESPACE}.{NAMESPACE}")), {""})
    same("what is in the Secret", held(t, NAMESPACE, f"{own}-own"), {})
    config = configured(found, f"{own}-config")
    lives = {"certificateLife": f"{CERTIFICATE}s", "authorityLife": f"{AUTHORITY}s"}
    # Both begin with nothing, at once.
    gate.shim = start(t, "own-one", NAMESPACE, gate.replica, parsed(t, config), own, lives)
    gate.second = start(t, "own-two", NAMESPACE, gate.other, parsed(t, config), own, lives)
    both = [gate.shim, gate.second]
    gate.balancer.replicas = [gate.replica[0], gate.other[0]]
    for ports in (gate.replica, gate.other):
        until("a shim that is ready", lambda: ready(ports[1]), START, both)
    # It is ready only when the API server knows it.
    first = held(t, NAMESPACE, f"{own}-own")["ca.crt"]
    if not all(first in bundle for bundle in bundles(t, f"{NAMESPACE}.{NAMESPACE}")):
        raise Failed("a shim is ready that the API server does not know")
    gate.in_force()
    authorities, sizes = set(), set()
    load = Load(t.cluster, pod("loaded", "shop", gate.image("clean")), pod("loaded", "shop", gate.image("critical")))
    with load as under, Watch(t, [gate.replica[0], gate.other[0]]) as watch:
        stop = time.monotonic() + WATCHED
        while time.monotonic() < stop:
            under.more(20)
            authorities.add(held(t, NAMESPACE, f"{own}-own")["ca.crt"])
            sizes |= {bundle.count("BEGIN") for bundle in bundles(t, f"{NAMESPACE}.{NAMESPACE}")}
    answers = under.must_be_right()
    if watch.wrong or not watch.count:
        raise Failed(f"{len(watch.wrong)} of {watch.count} handshakes failed, the first: {watch.wrong[:3]}")
    if len(authorities) < 3 or len(watch.shown) < 6 or max(sizes) > 4:
        raise Failed(f"{len(authorities)} authorities, {len(watch.shown)} certificates, bundles of {sizes}")
    if not all(program.alive() for program in both):
        raise Failed("a shim ended")
    # As it was, for whoever comes next.
    gate.second.stop()
    gate.shim.stop()
    for document in gate.installed:
        t.cluster.must("delete", document["kind"], document["metadata"]["name"])
    gate.start_shim()
    gate.install()
    gate.in_force()
    return (f"{answers} answers and {watch.count} handshakes, all right, over {len(authorities)} authorities and "
            f"{len(watch.shown)} certificates")


def an_upgrade_leaves_what_a_shim_made_itself(t):
    """The release is helm's own here: what an upgrade writes, and what it leaves."""
    name, namespace = "renewing", "renewing"
    t.cluster.namespace(namespace)
    flags = [name, t.gate.chart, "--namespace", namespace, "--set"]
    values = f"{MODE},fullnameOverride=renewing"
    helm(t.cluster, "install", *flags, values)
    found = t.cluster.must("get", "configmap", "renewing-shim-config", "-n", namespace, "-o", "json").json()
    shim = start(t, "renewing", namespace, t.gate.other, parsed(t, found["data"]["shim.yaml"]), "renewing-shim", {})
    try:
        until("a shim that is ready", lambda: ready(t.gate.other[1]), START, [shim])
        hooks = f"{name}.{namespace}"
        before = held(t, namespace, "renewing-shim-own"), bundles(t, hooks)
        if not before[0]["ca.crt"] or set(before[1]) != {before[0]["ca.crt"]}:
            raise Failed(f"the API server does not know the shim: {before[1]}")
        # While nobody is there who would put back what it takes.
        shim.stop()
        for more in ("", ",webhook.timeoutSeconds=5,shim.podLabels.a=b"):
            helm(t.cluster, "upgrade", *flags, values + more)
            same("what the Secret has, and by whom the shim is known",
                 (held(t, namespace, "renewing-shim-own"), bundles(t, hooks)), before)
        items = t.cluster.must("get", "validatingwebhookconfigurations", hooks, "-o", "json").json()["webhooks"]
        same("timeouts", {hook["timeoutSeconds"] for hook in items}, {5})
    finally:
        shim.stop()
        helm(t.cluster, "uninstall", name, "--namespace", namespace)
    absent = t.cluster.kubectl("get", "secret", "renewing-shim-own", "-n", namespace)
    if absent.ok:
        raise Failed("the key of an authority is left after an uninstallation")


def a_right_that_lacks_is_named(t):
    """Without its ClusterRole it is never ready, and its log says what is missing."""
    name = "lacking"
    t.cluster.namespace(name)
    flags = [name, t.gate.chart, "--namespace", name, "--set", f"{MODE},fullnameOverride=lacking"]
    helm(t.cluster, "install", *flags)
    shim = None
    try:
        t.cluster.must("delete", "clusterrolebinding", f"lacking-shim.{name}")
        found = t.cluster.must("get", "configmap", "lacking-shim-config", "-n", name, "-o", "json").json()
        shim = start(t, name, name, t.gate.other, parsed(t, found["data"]["shim.yaml"]), "lacking-shim", {})
        # It may get neither, and says so of one of them.
        says = [f"may not get {kind}WebhookConfiguration `lacking.lacking`" for kind in ("Validating", "Mutating")]
        named = lambda: any(each in shim.tail() for each in says) and "ClusterRole" in shim.tail()
        until("a log that names the right", named, START, [shim])
        try:
            is_ready = ready(t.gate.other[1])
        except OSError:
            is_ready = False
        same("ready", is_ready, False)
        same("what is in the Secret", held(t, name, "lacking-shim-own"), {})
        # No right but these: nobody's Secrets, and not its own by list.
        account = f"system:serviceaccount:{name}:lacking-shim"
        for verb, what, where in (("get", "secrets", name), ("list", "secrets", name), ("list", "secrets", "shop"),
                                  ("create", "secrets", name), ("get", "secrets/lacking-shim-own", name),
                                  ("get", "secrets/lacking-ca", name), ("delete", "secrets/lacking-shim-own", name)):
            answer = t.cluster.kubectl("auth", "can-i", verb, what, "-n", where, "--as", account)
            same(f"{verb} {what} in {where}", answer.out.strip(), "yes" if what.endswith("-own") and verb == "get" else "no")
    finally:
        if shim:
            shim.stop()
        helm(t.cluster, "uninstall", name, "--namespace", name)


ALL = [
    t152_a_shim_renews_its_own_certificate_and_authority_under_load,
    an_upgrade_leaves_what_a_shim_made_itself,
    a_right_that_lacks_is_named,
]
