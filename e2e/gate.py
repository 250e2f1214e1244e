"""Portcullis around the cluster: a registry with signed images, the decision service, the shim, its webhooks."""

import json
import os
import pathlib
import subprocess
import urllib.request

from balancer import Balancer
from parts import Authority, Failed, Program, free_ports, until
from pods import pod

START = 60
# Where the shim lives, as far as the cluster knows.
NAMESPACE, SERVICE = "portcullis", "portcullis-shim"
HOST = f"{SERVICE}.{NAMESPACE}.svc"
# The cluster, and another one that the service knows.
CLUSTER, OTHER = "e2e", "elsewhere"
# The webhook that denies pods.
VALIDATING = "pods.portcullis.dev"

# One rule denies, but not in the namespace `audited`, where another one tells.
RULES = """\
apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - name: no-known-high-risk
      action: deny
      scope: {match: [{field: namespace, operator: notEquals, values: [audited]}]}
      maxAllowed: {critical: 0, high: 0}
      blockUnscannedImages: true
      onUnavailable: deny
    - name: tell-of-criticals
      action: audit
      scope: {match: [{field: namespace, operator: equals, values: [audited]}]}
      maxAllowed: {critical: 0}
  breakGlass:
    - name: on-call
      scope: {match: [{field: namespace, operator: equals, values: [broken]}]}
"""


def identity(cluster):
    """What the chart calls a cluster's shim in its certificate."""
    return f"shim.{cluster}.portcullis"


class Gate:
    """What gates the cluster of one run; `stop` ends it."""

    def __init__(self, folder, command, chart, cluster):
        self.folder = pathlib.Path(folder)
        self.command = pathlib.Path(command)
        self.chart = pathlib.Path(chart)
        self.cluster = cluster
        self.registry = self.service = self.shim = self.second = None
        self.authority = Authority(self.folder / "pki", "webhook")
        # The service and the shims know each other by another one.
        self.mutual = Authority(self.folder / "pki", "mutual")
        self.mutual.issue("service", "/CN=service", "serverAuth", ["DNS:localhost"])
        for cluster in (CLUSTER, OTHER):
            self.mutual.issue(cluster, f"/CN={cluster}", "clientAuth", [f"DNS:{identity(cluster)}"])
        self.bundle = self.authority.cert.read_text()
        ports = free_ports(7)
        self.grpc, self.service_admin, self.port = ports[:3]
        # Where a replica answers, and where it tells how it is.
        self.replica, self.other = ports[3:5], ports[5:7]
        self.balancer = Balancer(self.port)

    # The registry and its images are the demo's; it needs nothing else.

    def start_registry(self):
        temporary = self.folder / "demo"
        temporary.mkdir()
        self.registry = Program(
            "demo", [self.command, "demo", "--output", "json"], self.folder, {"TMPDIR": str(temporary)}
        )
        document = until("the demo's images", self._demo, START, [self.registry])
        self.images = {}
        for check in document["checks"]:
            name = check["image"].rsplit("/", 1)[1].split(":")[0]
            self.images[name] = (check["image"], check["digest"])
        self.demo = next(temporary.iterdir())

    def _demo(self):
        text = self.registry.out.read_text()
        return json.loads(text) if text.endswith("}\n") else None

    def image(self, name):
        return self.images[name][0]

    def digest(self, name):
        return self.images[name][1]

    def start_service(self):
        data = self.folder / "service"
        data.mkdir(exist_ok=True)
        (data / "data").mkdir(exist_ok=True)
        (data / "rules.yaml").write_text(RULES)
        registry = (self.demo / "registry").read_text()
        (data / "portcullis.yaml").write_text(json.dumps({
            "listen": f"127.0.0.1:{self.grpc}",
            "admin": f"127.0.0.1:{self.service_admin}",
            "tls": {"certificateFile": self.pki("service.crt"), "keyFile": self.pki("service.key"),
                    "clientCaFile": str(self.mutual.cert)},
            "clusters": [{"name": name, "identities": [identity(name)]} for name in (CLUSTER, OTHER)],
            "rules": ["rules.yaml"],
            "trust": {"policy": str(self.demo / "trustpolicy.json"), "store": str(self.demo / "truststore")},
            "registries": [{"host": registry, "scheme": "http"}],
            "dataDir": "data",
            "events": "events.jsonl",
            "limits": {"drain": "1s"},
        }))
        self.service = Program(
            "service", [self.command, "serve", "--config", data / "portcullis.yaml"], self.folder
        )
        until("a decision service that is ready", lambda: ready(self.service_admin), START, [self.service])

    def pki(self, name):
        return str(self.folder / "pki" / name)

    def events(self):
        """The record of the service, oldest first."""
        lines = (self.folder / "service/events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    # Certificates are mounted as the kubelet does: `..data` is a link to a folder, and is swapped.

    def certificate(self, authority=None, bytes=None):
        """Gives the shims a new pair; of the certificate only so many bytes."""
        mount = self.folder / "mount"
        mount.mkdir(exist_ok=True)
        number = len(list(mount.glob("..20*")))
        folder = mount / f"..20{number:02}"
        cert, key = (authority or self.authority).issue(
            "tls", f"/CN={HOST}", "serverAuth", [f"DNS:{HOST}", "DNS:localhost"], folder
        )
        cert.write_bytes(cert.read_bytes()[:bytes])
        following = mount / "..data_tmp"
        following.symlink_to(folder.name)
        following.replace(mount / "..data")
        for file in (cert, key):
            link = mount / file.name
            if not link.is_symlink():
                link.symlink_to(f"..data/{file.name}")

    def start_shim(self, wait=True, **more):
        """The shim, and it alone, is behind the service's address."""
        self.shim = self.start_replica("shim", self.replica, wait, **more)
        self.balancer.replicas = [self.replica[0]]

    def start_replica(self, name, ports, wait=True, drain="5s", certificate=CLUSTER):
        """A shim of the cluster, with the certificate of this one."""
        document = {
            "listen": f"127.0.0.1:{ports[0]}",
            "admin": f"127.0.0.1:{ports[1]}",
            "tls": {"certFile": str(self.folder / "mount/tls.crt"), "keyFile": str(self.folder / "mount/tls.key"),
                    "clientCaFile": str(self.cluster.authority.cert)},
            "service": {"servers": [f"https://localhost:{self.grpc}"], "tls": {
                "caFile": str(self.mutual.cert),
                "certificateFile": self.pki(f"{certificate}.crt"), "keyFile": self.pki(f"{certificate}.key")}},
            "context": {"cluster": CLUSTER},
            "namespace": NAMESPACE,
            "failPolicy": {"default": "allow", "namespaces": {"strict": "deny"}},
            "lastKnown": {"file": str(self.folder / f"{name}.known"), "tags": True},
            "drain": drain,
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(document))
        replica = Program(name, [self.command, "shim", "--config", path], self.folder)
        if wait:
            until(f"a {name} that is ready", lambda: ready(ports[1]), START, [replica])
        return replica

    def stop(self):
        for program in (self.shim, self.second, self.service, self.registry):
            if program:
                program.stop()
        self.balancer.stop()

    # The webhooks, as the chart has them.

    def announce(self):
        """The namespace and the service that the webhooks name; the service's name leads to loopback."""
        self.cluster.namespace(NAMESPACE)
        self.cluster.must("create", "-f", "-", document={
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"}})

    def install(self, policy="Ignore"):
        """The webhook configurations, with the bundle that is trusted now."""
        self.installed = self.webhooks(policy)
        for document in self.installed:
            self.cluster.must("apply", "-f", "-", document=document)

    def uninstall(self):
        for document in self.installed:
            self.cluster.must("delete", document["kind"], document["metadata"]["name"])
        bad = pod("probe", "probe", self.image("critical"))
        until("webhooks that are gone", lambda: self.probe(bad).ok, START)

    def in_force(self):
        """Waits until the API server asks: it hears of a configuration by a watch."""
        bad = pod("probe", "probe", self.image("critical"))
        until("webhooks that are asked", lambda: not self.probe(bad).ok, START, [self.shim])

    def probe(self, document):
        return self.cluster.kubectl("create", "-f", "-", "--dry-run=server", document=document)

    def webhooks(self, policy):
        bundle = self.folder / "bundle.pem"
        bundle.write_text(self.bundle)
        values = {
            "webhook.failurePolicy": policy, "webhook.pinning.enabled": "true",
            "webhook.exemptNamespaces": "{second}", "tls.mode": "provided",
            # The chart wants to know them; what they are in a cluster is here a folder.
            "tls.provided.serviceSecret": "service", "tls.provided.shimSecret": "shim", "shim.clientSecret": "client",
        }
        text = helm(
            self.cluster, "template", NAMESPACE, self.chart, "--namespace", NAMESPACE,
            "--show-only", "templates/webhooks.yaml", "--set-file", f"tls.provided.caBundle={bundle}",
            "--set", ",".join(f"{key}={value}" for key, value in values.items()),
        )
        # One document after the other, as JSON.
        rest = self.cluster.must("create", "-f", "-", "--dry-run=client", "-o", "json", text=text).out.strip()
        documents = []
        while rest:
            document, end = json.JSONDecoder().raw_decode(rest)
            documents.extend(document["items"] if document["kind"] == "List" else [document])
            rest = rest[end:].strip()
        for document in documents:
            for hook in document["webhooks"]:
                if hook["clientConfig"]["service"]["name"] != SERVICE:
                    raise Failed(f"the chart's webhook calls another service: {hook['clientConfig']}")
                # All is as the chart has it, but the port: that of a cluster is not everybody's here.
                hook["clientConfig"]["service"]["port"] = self.port
        return documents


def helm(cluster, *arguments):
    done = subprocess.run(
        [str(cluster.bin / "helm"), "--kubeconfig", str(cluster.kubeconfig), *map(str, arguments)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
        env={**os.environ, "HELM_CACHE_HOME": str(cluster.folder / "helm"),
             "HELM_CONFIG_HOME": str(cluster.folder / "helm"), "HELM_DATA_HOME": str(cluster.folder / "helm")},
    )
    if done.returncode:
        raise Failed(f"helm {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def ready(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        return answer.status == 200


def metrics(port):
    """What is counted, by the whole name of each series."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
