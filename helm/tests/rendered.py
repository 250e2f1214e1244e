"""Values in, what the chart renders of them out."""

import functools
import pathlib
import subprocess
import sys

import yaml

# The built command, and the schemas and documents of Kubernetes that .ci/schemas.py wrote.
COMMAND, SCHEMAS = sys.argv[1], pathlib.Path(sys.argv[2])
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm/portcullis"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
NAMESPACE = "portcullis"
# Secrets of somebody's own.
PROVIDED = {
    "tls": {
        "mode": "provided",
        "provided": {
            "serviceSecret": "service",
            "shimSecret": "shim",
            "caBundle": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
        },
    },
    "shim": {"clientSecret": "client"},
}
WEBHOOKS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


def helm(*arguments, values=None):
    """Renders the chart: standard output, or the error."""
    command = ["helm", "template", "gate", str(CHART), "--namespace", NAMESPACE, *arguments]
    text = yaml.safe_dump(values or {})
    return subprocess.run([*command, "--values", "-"], input=text, capture_output=True, text=True, check=False)


def render(*arguments, values=None):
    done = helm(*arguments, values=values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def values_of(example):
    """What an example leaves to whoever installs."""
    root = {"x509/ca/scanners/root.pem": "the root of a scanner"}
    return {"service": {"trust": {"files": root}}} if example.stem == "all-in-one" else {}


def of_kind(documents, *kinds):
    return [document for document in documents if document["kind"] in kinds]


def one(documents, kind, end=""):
    found = [each for each in of_kind(documents, kind) if each["metadata"]["name"].endswith(end)]
    assert len(found) == 1, f"{len(found)} of {kind} {end}"
    return found[0]


def pods(documents):
    """The name and the pod template of everything that makes pods."""
    makers = of_kind(documents, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
    assert makers, "nothing makes pods"
    return [(maker["metadata"]["name"], maker["spec"]["template"]) for maker in makers]


@functools.cache
def everything():
    """All that the chart can render, at its fullest, and each example."""
    full = yaml.safe_load((ROOT / "helm/tests/full.yaml").read_text())
    rendered = {"defaults": render(), "full": render(values=full)}
    rendered["cert-manager"] = render(values={"tls": {"mode": "cert-manager"}, "webhook": {"pinning": {"enabled": True}}})
    rendered["provided"] = render(values=PROVIDED)
    rendered["self"] = render(values={"tls": {"mode": "self"}, **{key: full[key] for key in ("networkPolicy", "webhook")}})
    for example in EXAMPLES:
        rendered[example.stem] = render("--values", str(example), values=values_of(example))
    return rendered


def refused(values, *words):
    done = helm(values=values)
    assert done.returncode != 0, f"{values} is accepted"
    assert all(word in done.stderr for word in words), done.stderr


def webhooks(documents):
    found = [hook for each in of_kind(documents, *WEBHOOKS) for hook in each["webhooks"]]
    assert found, "no webhook"
    return found
