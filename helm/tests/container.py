"""A pod that the chart renders in, its container running without an engine out: see pod.py."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from rendered import ROOT, of_kind

# How long a container may take to be ready; it takes less than a second.
PATIENCE = 30
# What a service account has for a token.
TOKEN = "a token of the service account"
# Where webhooks of clouds put one, in these tests.
CLOUD_TOKEN = "/var/run/cloud/token"


def image(command, folder):
    root = pathlib.Path(folder) / "root"
    subprocess.run([str(ROOT / "image/rootfs"), command, str(root)], check=True)
    return root


def files_of(volume, documents):
    """The files of a volume by path; None where it is empty and can be written."""
    if volume is None or "emptyDir" in volume:
        return None
    if "projected" in volume:
        files = {}
        for source in volume["projected"]["sources"]:
            token = source.get("serviceAccountToken")
            files |= {token["path"]: TOKEN.encode()} if token else files_of(source, documents)
        return files
    kind, name = (
        ("ConfigMap", volume["configMap"]["name"]) if "configMap" in volume else ("Secret", volume["secret"]["secretName"])
    )
    source = volume.get("configMap") or volume["secret"]
    [document] = [each for each in of_kind(documents, kind) if each["metadata"]["name"] == name]
    data = {key: text.encode() for key, text in document.get("data", {}).items()}
    if kind == "Secret":
        data = {key: base64.b64decode(text) for key, text in data.items()}
        data |= {key: text.encode() for key, text in document.get("stringData", {}).items()}
    if "items" in source:
        return {item["path"]: data[item["key"]] for item in source["items"]}
    return data


@contextlib.contextmanager
def running(command, documents, template, hosts=(), cloud=None):
    """The first container of a pod, until the end of the block. `cloud` is what its webhooks would add: variables, and a token."""
    container = template["spec"]["containers"][0]
    user = template["spec"]["securityContext"]["runAsUser"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        root = image(command, folder)
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        bound = []
        (folder / "hosts").write_text("".join(f"127.0.0.1 {host}\n" for host in ["localhost", *hosts]))
        (root / "etc/hosts").touch()
        if cloud:
            (root / CLOUD_TOKEN.lstrip("/")).parent.mkdir(parents=True)
            (root / CLOUD_TOKEN.lstrip("/")).write_text(TOKEN)
        bound.append([str(folder / "hosts"), "/etc/hosts", True])
        for mount in container["volumeMounts"]:
            source, target = folder / mount["name"], root / mount["mountPath"].lstrip("/")
            # A claim is no volume of the template.
            files = files_of(volumes.get(mount["name"]), documents)
            source.mkdir(mode=0o755, exist_ok=True)
            for path, content in (files or {}).items():
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                (source / path).write_bytes(content)
            if files is None:
                # As fsGroup makes it.
                os.chown(source, user, user)
            if "subPath" in mount:
                source = source / mount["subPath"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            else:
                target.mkdir(parents=True, exist_ok=True)
            bound.append([str(source), mount["mountPath"], mount.get("readOnly", False)])
        # What is mounted inside of another mount comes after it.
        bound.sort(key=lambda each: each[1])
        env = {each["name"]: each["value"] for each in container.get("env", [])} | (cloud or {})
        spec = {"root": str(root), "volumes": bound, "user": user, "args": ["/portcullis", *container["args"]], "env": env}
        (folder / "spec.json").write_text(json.dumps(spec))
        log = (folder / "log").open("wb+")
        inside = ["unshare", "--mount", sys.executable, str(ROOT / "helm/tests/pod.py"), str(folder / "spec.json")]
        process = subprocess.Popen(inside, stdout=log, stderr=log)
        try:
            yield container, process
        except BaseException:
            log.seek(0)
            print(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            process.terminate()
            # The first signal lets it answer on for a while; a second one ends it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def becomes(container, process, what):
    """Waits until a probe, `readinessProbe` or another, is answered as it should be."""
    probe = container[what]["httpGet"]
    [port] = [each["containerPort"] for each in container["ports"] if each["name"] == probe["port"]]
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, f"it ended with {process.returncode}"
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", probe["path"])
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"{what} is never answered")
