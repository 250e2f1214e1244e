"""A Kubernetes control plane without nodes: etcd, a real API server, kubectl. No controllers run."""

import json
import pathlib
import subprocess

from parts import Authority, Failed, Program, free_ports, openssl, until

# How long a start may take on a busy machine, in seconds.
START = 90
# How long one command of a user may take, in seconds.
COMMAND = 60


class Answer:
    """What a command of a user gave."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.warnings = [
            line.removeprefix("Warning: ") for line in self.err.splitlines() if line.startswith("Warning: ")
        ]

    @property
    def ok(self):
        return self.code == 0

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"exit {self.code}\n{self.out}{self.err}"


class Cluster:
    """The control plane of one run; `stop` ends it."""

    def __init__(self, folder, programs):
        self.folder = pathlib.Path(folder)
        self.bin = pathlib.Path(programs)
        self.audit = self.folder / "audit.log"
        self.running = []
        self.port = None

    def start(self):
        client, peer, self.port = free_ports(3)
        etcd = f"http://127.0.0.1:{client}"
        self._run(
            "etcd",
            ["etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync",
             "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
             "--listen-peer-urls", f"http://127.0.0.1:{peer}",
             "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
             "--initial-cluster", f"default=http://127.0.0.1:{peer}"],
        )
        self._certificates()
        self._files()
        self._run("kube-apiserver", self._api_server(etcd))
        until("an API server that is ready", lambda: self.kubectl("get", "--raw", "/readyz").ok, START, self.running)

    def _run(self, name, command):
        self.running.append(Program(name, command, self.folder))

    def stop(self):
        for program in reversed(self.running):
            program.stop()

    def _certificates(self):
        authority = Authority(self.folder / "pki", "cluster")
        pki = authority.folder
        authority.issue(
            "api", "/CN=kube-apiserver", "serverAuth", ["IP:127.0.0.1", "DNS:kubernetes.default.svc", "IP:10.96.0.1"]
        )
        authority.issue("admin", "/O=system:masters/CN=admin", "clientAuth")
        # With this one the API server says to webhooks that it is the API server.
        authority.issue("webhook-client", "/CN=kube-apiserver-webhook-client", "clientAuth")
        openssl("genrsa", "-out", pki / "accounts.key", "2048")
        openssl("rsa", "-in", pki / "accounts.key", "-pubout", "-out", pki / "accounts.pub")
        self.authority = authority

    def _files(self):
        pki = self.folder / "pki"
        self.kubeconfig = self._kubeconfig("kubeconfig", "admin", f"https://127.0.0.1:{self.port}")
        webhooks = self._kubeconfig("webhooks.kubeconfig", "webhook-client", "https://ignored.invalid", "*")
        plugins = [
            {"name": f"{kind}AdmissionWebhook",
             "configuration": {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
                               "kubeConfigFile": str(webhooks)}}
            for kind in ("Validating", "Mutating")
        ]
        self._write("admission.yaml", {"apiVersion": "apiserver.config.k8s.io/v1",
                                       "kind": "AdmissionConfiguration", "plugins": plugins})
        # Only what somebody wrote is audited, and of the request only its metadata.
        writes = {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"], "omitStages": ["RequestReceived"]}
        self._write("audit.yaml", {"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
                                   "rules": [writes, {"level": "None"}]})
        self.pki = pki

    def _write(self, name, document):
        # JSON is YAML.
        path = self.folder / name
        path.write_text(json.dumps(document))
        return path

    def _kubeconfig(self, name, user, server, called=None):
        pki = self.folder / "pki"
        called = called or user
        return self._write(name, {
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": {
                "server": server, "certificate-authority": str(pki / "cluster-ca.pem")}}],
            "users": [{"name": called, "user": {
                "client-certificate": str(pki / f"{user}.crt"), "client-key": str(pki / f"{user}.key")}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": called}}],
        })

    def _api_server(self, etcd):
        pki = self.folder / "pki"
        flags = {
            "etcd-servers": etcd,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": self.port,
            "tls-cert-file": pki / "api.crt",
            "tls-private-key-file": pki / "api.key",
            "client-ca-file": pki / "cluster-ca.pem",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": pki / "accounts.pub",
            "service-account-signing-key-file": pki / "accounts.key",
            "service-cluster-ip-range": "10.96.0.0/24",
            "authorization-mode": "RBAC",
            "admission-control-config-file": self.folder / "admission.yaml",
            "audit-policy-file": self.folder / "audit.yaml",
            "audit-log-path": self.audit,
            # Nothing listens at the address of the service `kubernetes`, so nobody need tell where it is.
            "endpoint-reconciler-type": "none",
        }
        return [self.bin / "kube-apiserver", *(f"--{flag}={value}" for flag, value in flags.items())]

    def kubectl(self, *arguments, document=None, text=None):
        """What a user types; `document` or `text` is what he pipes in."""
        command = [str(self.bin / "kubectl"), "--kubeconfig", str(self.kubeconfig), "--cache-dir",
                   str(self.folder / "cache"), *map(str, arguments)]
        if document is not None:
            text = json.dumps(document)
        done = subprocess.run(command, input=text or "", capture_output=True, text=True, timeout=COMMAND)
        return Answer(done)

    def must(self, *arguments, **more):
        """A command that must succeed."""
        answer = self.kubectl(*arguments, **more)
        if not answer.ok:
            raise Failed(f"kubectl {' '.join(map(str, arguments))}: {answer}")
        return answer

    def namespace(self, name, labels=None):
        """A namespace with its default service account, which a controller would make."""
        self.must("create", "-f", "-", document={
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})
        self.must("create", "serviceaccount", "default", "--namespace", name)

    def audited(self, **wanted):
        """The entries of the audit log about objects as named, oldest first."""
        found = []
        for line in self.audit.read_text().splitlines():
            entry = json.loads(line)
            about = entry.get("objectRef", {})
            if all(about.get(field) == value for field, value in wanted.items()):
                found.append(entry)
        return found
