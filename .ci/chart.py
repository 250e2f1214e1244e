"""The chart and the image in, what they break of their promises out. `.ci/chart` runs it.

Tests are functions whose names begin with the number of their case in docs/threat-model.md, or with `test`. Usage:
chart.py COMMAND SCHEMAS, the built command and the folder that .ci/schemas.py wrote.
"""

import base64
import contextlib
import functools
import http.client
import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import tempfile
import time
import traceback

import yaml

COMMAND, SCHEMAS = sys.argv[1], pathlib.Path(sys.argv[2])
ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "helm/portcullis"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
NAMESPACE = "portcullis"
# How long a container may take to be ready; it takes less than one.
PATIENCE = 30


def helm(*arguments, values=None):
    """Renders the chart: standard output, or the error."""
    command = ["helm", "template", "gate", str(CHART), "--namespace", NAMESPACE, *arguments]
    text = yaml.safe_dump(values or {})
    return subprocess.run([*command, "--values", "-"], input=text, capture_output=True, text=True, check=False)


def render(*arguments, values=None):
    done = helm(*arguments, values=values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


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
    full = {
        "networkPolicy": {"enabled": True},
        "observability": {
            "serviceMonitor": {"enabled": True},
            "dashboard": {"enabled": True},
            "alerts": {"kind": "PrometheusRule"},
        },
    }
    rendered = {"defaults": render(), "full": render(values=full)}
    for example in EXAMPLES:
        rendered[example.stem] = render("--values", str(example))
    return rendered


def refused(values, *words):
    done = helm(values=values)
    assert done.returncode != 0, f"{values} is accepted"
    assert all(word in done.stderr for word in words), done.stderr


# The values.


def test_what_is_misspelt_or_out_of_range_is_refused():
    refused({"service": {"replica": 3}}, "/service", "replica")
    refused({"service": {"replicas": 0}}, "/service/replicas")
    refused({"service": {"config": {"listen": "0.0.0.0:1"}}}, "/service/config", "listen")
    refused({"service": {"rules": {"files": {"rules.json": "{}"}}}}, "/service/rules/files")
    refused({"service": {"trust": {"files": {"../trustpolicy.json": "{}"}}}}, "../trustpolicy.json")
    refused({"image": {"digest": "sha256:12"}}, "/image/digest")


def test_every_value_has_a_line_that_says_what_it_is_for():
    """Whoever reads values.yaml sees all that the schema takes."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def walk(schema, values, path):
        schema = schema.get("$ref") and functools.reduce(dict.get, schema["$ref"][2:].split("/"), whole) or schema
        missing = [f"{path}{name}" for name in schema.get("properties", {}) if name not in values]
        for name, child in schema.get("properties", {}).items():
            if isinstance(values.get(name), dict) and values[name]:
                missing += walk(child, values[name], f"{path}{name}.")
        return missing

    whole = schema
    assert walk(schema, values, "") == ["global"], walk(schema, values, "")


def fields_of(source):
    """The fields of the configuration file that a source file reads."""
    struct = re.search(r"\nstruct File \{(.*?)\n\}", (ROOT / source).read_text(), re.DOTALL)
    names = re.findall(r"^    (?:pub(?:\(\w+\))? )?(\w+):", struct[1], re.MULTILINE)
    assert len(names) > 5, names
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), name) for name in names}


def test_every_setting_of_the_service_can_be_given_or_is_the_charts_own():
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = set(schema["properties"]["service"]["properties"]["config"]["properties"])
    own = {"listen", "admin", "dataDir", "rules"}
    assert given | own == fields_of("server/src/config.rs"), given ^ fields_of("server/src/config.rs")
    assert not given & own


def test_rendering_again_changes_nothing():
    def stable(documents):
        return [document for document in documents if document["kind"] != "Secret"]

    assert stable(render()) == stable(render())


def test_what_selects_pods_never_changes():
    """A selector is immutable: an upgrade that changes one fails."""
    for part, kind in (("service", "Deployment"),):
        spec = one(render(), kind)["spec"] if part == "service" else None
        labels = {"app.kubernetes.io/name": "portcullis", "app.kubernetes.io/instance": "gate"}
        assert spec["selector"]["matchLabels"] == labels | {"app.kubernetes.io/component": part}


def test_dashboard_and_alerts_are_those_of_the_tree():
    documents = everything()["full"]
    dashboard = one(documents, "ConfigMap", "-dashboard")["data"]["portcullis.json"]
    assert json.loads(dashboard) == json.loads((ROOT / "observability/dashboard.json").read_text())
    alerts = one(documents, "PrometheusRule")["spec"]
    assert alerts == yaml.safe_load((ROOT / "observability/alerts.yaml").read_text())


# What runs, and with what rights.


def t173_the_image_has_nothing_but_the_command():
    with tempfile.TemporaryDirectory() as folder:
        root = image(folder)
        files = [path for path in root.rglob("*") if path.is_file()]
        libraries = re.compile(r"^(lib|lib64|usr/lib)/(.*/)?(ld-linux|lib(c|m|gcc_s|pthread|dl|rt)\.so)[^/]*$")
        others = {"portcullis", "etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt"}
        names = {str(path.relative_to(root)) for path in files}
        strange = {name for name in names if name not in others and not libraries.match(name)}
        assert not strange, strange
        assert not [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
        size = sum(path.stat().st_size for path in files)
        assert size < 40_000_000, f"{size} bytes"
    dockerfile = (ROOT / "Dockerfile").read_text()
    last = dockerfile.rsplit("\nFROM ", 1)[1]
    assert last.startswith("scratch\n") and re.search(r"^USER 65532:65532$", last, re.MULTILINE), last
    assert last.count("COPY") == 1, "more than one layer of ours"


def t174_pods_have_no_privileges_and_are_many():
    for name, documents in everything().items():
        for workload, template in pods(documents):
            spec, where = template["spec"], f"{name}/{workload}"
            pod = spec["securityContext"]
            assert pod["runAsNonRoot"] is True and pod["runAsUser"] >= 10_000, where
            assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert spec["automountServiceAccountToken"] is False, where
            assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), where
            assert not [volume for volume in spec["volumes"] if "hostPath" in volume], where
            assert spec["terminationGracePeriodSeconds"] >= 60, where
            spread = [each["topologyKey"] for each in spec["topologySpreadConstraints"]]
            assert spread == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], where
            for container in spec["containers"]:
                security = container["securityContext"]
                assert security["allowPrivilegeEscalation"] is False, where
                assert security["readOnlyRootFilesystem"] is True, where
                assert security["capabilities"] == {"drop": ["ALL"]}, where
                assert not security.get("privileged"), where
                assert container["resources"]["limits"]["memory"], where
                assert container["resources"]["requests"]["cpu"], where
                assert container["readinessProbe"] and container["livenessProbe"], where
            disruptions = [each["spec"] for each in of_kind(documents, "PodDisruptionBudget")]
            labels = template["metadata"]["labels"]
            mine = [each for each in disruptions if each["selector"]["matchLabels"].items() <= labels.items()]
            assert [each["maxUnavailable"] for each in mine] == [1], where
        for maker in of_kind(documents, "Deployment", "StatefulSet"):
            scalers = of_kind(documents, "HorizontalPodAutoscaler")
            scaled = [each["spec"] for each in scalers if each["spec"]["scaleTargetRef"]["name"] == maker["metadata"]["name"]]
            replicas = scaled[0]["minReplicas"] if scaled else maker["spec"]["replicas"]
            assert replicas >= 2, f"{name}: {replicas} replicas"


def t175_the_metadata_service_and_strangers_are_shut_out():
    policies = of_kind(everything()["full"], "NetworkPolicy")
    assert policies
    for policy in policies:
        name, spec = policy["metadata"]["name"], policy["spec"]
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}, name
        for rule in [*spec["ingress"], *spec["egress"]]:
            assert rule.get("ports"), f"{name} opens every port"
        for rule in spec["egress"]:
            is_dns = all(port["port"] == 53 for port in rule["ports"])
            assert is_dns or rule.get("to"), f"{name} lets {rule} go anywhere"
            for peer in rule.get("to", []):
                block = peer.get("ipBlock")
                if block and block["cidr"] == "0.0.0.0/0":
                    assert "169.254.0.0/16" in block["except"], name
                elif block:
                    assert block["cidr"] == "::/0" and "fe80::/10" in block["except"], name
    service = one(policies, "NetworkPolicy", "portcullis")["spec"]
    asked = [rule for rule in service["ingress"] if rule["ports"][0]["port"] == "grpc"]
    assert len(asked) == 1 and asked[0]["from"] == [
        {"podSelector": {"matchLabels": {
            "app.kubernetes.io/name": "portcullis",
            "app.kubernetes.io/instance": "gate",
            "app.kubernetes.io/component": "shim",
        }}}
    ]


def t177_nothing_may_ask_the_api_server():
    for name, documents in everything().items():
        kinds = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
        assert not of_kind(documents, *kinds), name
        for account in of_kind(documents, "ServiceAccount"):
            assert account["automountServiceAccountToken"] is False, name


# Containers, run as the chart has them.


def image(folder):
    root = pathlib.Path(folder) / "root"
    subprocess.run([str(ROOT / "image/rootfs"), COMMAND, str(root)], check=True)
    return root


def files_of(volume, documents):
    """The files of a volume by path; None where it is empty and can be written."""
    if "emptyDir" in volume:
        return None
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
def running(documents, template, hosts):
    """A container of a pod, until the end of the block."""
    [container] = template["spec"]["containers"]
    user = template["spec"]["securityContext"]["runAsUser"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        root = image(folder)
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        bound = []
        (folder / "hosts").write_text("".join(f"127.0.0.1 {host}\n" for host in ["localhost", *hosts]))
        (root / "etc/hosts").touch()
        bound.append([str(folder / "hosts"), "/etc/hosts", True])
        for mount in container["volumeMounts"]:
            source, target = folder / mount["name"], root / mount["mountPath"].lstrip("/")
            files = files_of(volumes[mount["name"]], documents)
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
        env = {each["name"]: each["value"] for each in container.get("env", [])}
        spec = {"root": str(root), "volumes": bound, "user": user, "args": ["/portcullis", *container["args"]], "env": env}
        (folder / "spec.json").write_text(json.dumps(spec))
        log = (folder / "log").open("wb+")
        command = ["unshare", "--mount", sys.executable, str(ROOT / ".ci/pod.py"), str(folder / "spec.json")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield container, process
        except BaseException:
            log.seek(0)
            print(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def becomes_ready(container, process):
    probe = container["readinessProbe"]["httpGet"]
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
    raise AssertionError("it is not ready")


def t173_the_service_runs_as_the_chart_has_it():
    """Read-only, as nobody, without capabilities: with the files of an example as they are."""
    documents = everything()["defaults"]
    [template] = [template for name, template in pods(documents) if name == "gate-portcullis"]
    with running(documents, template, []) as (container, process):
        becomes_ready(container, process)


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    tests = {name: test for name, test in globals().items() if re.match(r"(test|t\d{3})_", name)}
    failed = []
    for name, test in tests.items():
        try:
            test()
            print(f"ok {name}")
        except Exception:
            traceback.print_exc()
            print(f"FAILED {name}")
            failed.append(name)
    print(f"{len(tests) - len(failed)} of {len(tests)} hold")
    sys.exit(bool(failed))


main()
