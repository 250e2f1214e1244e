"""The command in the image, started as the chart has it."""

import base64
import http.client
import json
import pathlib
import re
import socket
import ssl
import stat
import subprocess
import tempfile
import time

import yaml

from api import HOST, api
from certificates import openssl
from container import CLOUD_TOKEN, PATIENCE, becomes, image, running
from rendered import CHART, COMMAND, EXAMPLES, NAMESPACE, ROOT, everything, of_kind, one, pods, render, webhooks


def test_flags_of_the_chart_are_those_of_the_command():
    """And back: what `serve` and `shim` take is given, but for help."""
    documents = everything()["defaults"]
    specs = [template["spec"] for _, template in pods(documents)] + [each["spec"] for each in of_kind(documents, "Pod")]
    for container in [container for spec in specs for container in spec["containers"]]:
        subcommand, *arguments = container["args"]
        given = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
        done = subprocess.run([COMMAND, subcommand, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"there is no `{subcommand}`: {done.stderr}"
        taken = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", done.stdout, re.MULTILINE)) - {"--help"}
        assert given <= taken, f"{subcommand}: {given - taken}"
        assert given == taken or subcommand == "check", f"{subcommand}: {taken - given}"


def t173_the_image_has_nothing_but_the_command():
    with tempfile.TemporaryDirectory() as folder:
        root = image(COMMAND, folder)
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


def t173_the_service_runs_as_the_chart_has_it():
    """Read-only, as nobody, without capabilities: with the files of an example as they are."""
    documents = everything()["defaults"]
    [template] = [template for name, template in pods(documents) if name == "gate-portcullis"]
    with running(COMMAND, documents, template) as (container, process):
        becomes(container, process, "readinessProbe")


def t173_the_service_answers_who_has_the_certificate_of_the_release():
    """`helm test`, as the chart has it; and nobody else is answered."""
    documents = everything()["defaults"]
    template = dict(pods(documents))["gate-portcullis"]
    host = f"gate-portcullis.{NAMESPACE}.svc"
    [test] = of_kind(documents, "Pod")
    with running(COMMAND, documents, template) as (container, process):
        becomes(container, process, "readinessProbe")
        with running(COMMAND, documents, test, [host]) as (_, process):
            # The registry cannot be reached, which the default rule lets run.
            assert process.wait(PATIENCE) == 0, process.returncode
        strange = json.loads(json.dumps(test))
        arguments = test["spec"]["containers"][0]["args"]
        nameless = [each for each in arguments if not each.startswith(("--tls-cert", "--tls-key"))]
        strange["spec"]["containers"][0]["args"] = nameless
        with running(COMMAND, documents, strange, [host]) as (_, process):
            assert process.wait(PATIENCE) == 1, process.returncode


def test_an_operator_is_answered_with_the_certificate_that_the_guide_signs():
    """The commands of docs/operations.md, but for kubectl; and its name is what lets it in."""
    [script] = re.findall(r"^```sh\n(umask 077.*?)^```", (ROOT / "docs/operations.md").read_text(), re.DOTALL | re.MULTILINE)
    script = script.replace("shim.prod-eu.portcullis", "admin.portcullis", 1)
    script, count = re.subn(r"^kubectl .*\n", "", script, flags=re.MULTILINE)
    assert count == 1, script
    operators = [{"identities": ["admin.portcullis"], "role": "reader"}]
    documents = render(values={"service": {"config": {"operators": operators}}})
    template = dict(pods(documents))["gate-portcullis"]
    with tempfile.TemporaryDirectory() as folder, running(COMMAND, documents, template) as (container, process):
        becomes(container, process, "readinessProbe")
        for name, expected in (("admin.portcullis", (1, "unavailable")), ("nobody.portcullis", (1, "nobody.portcullis"))):
            with open(f"{folder}/ca.json", "w", encoding="utf-8") as file:
                json.dump(one(documents, "Secret", "-ca"), file)
            named = script.replace("admin.portcullis", name, 1)
            subprocess.run(["bash", "-eu", "-c", named], cwd=folder, capture_output=True, check=True)
            left = [path.name for path in pathlib.Path(folder).glob("ca.*")]
            assert left == ["ca.crt"], f"a key of the authority stays: {left}"
            files = ["--tls-ca=ca.crt", "--tls-cert=tls.crt", "--tls-key=tls.key"]
            server = ["--server=https://127.0.0.1:7443", f"--tls-server-name=gate-portcullis.{NAMESPACE}.svc"]
            asked = [COMMAND, "evidence", "registry.invalid/team/app:v1", *server, *files]
            done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == expected[0] and expected[1] in done.stdout + done.stderr, done


REVIEW = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "f0e1d2c3-0000-4000-8000-000000000001",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "name": "web",
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "somebody"},
        "object": {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"containers": [{"name": "main", "image": "registry.invalid/team/app:v1"}]},
        },
        "oldObject": None,
        "dryRun": False,
    },
}


def the_service_answers(hook):
    """The API server's part is played here: it knows the shim by the bundle of the webhook's configuration alone."""
    client = hook["clientConfig"]["service"]
    host = f"{client['name']}.{NAMESPACE}.svc"
    trusted = ssl.create_default_context(cadata=base64.b64decode(hook["clientConfig"]["caBundle"]).decode())
    with socket.create_connection(("127.0.0.1", 8443), PATIENCE) as connection:
        with trusted.wrap_socket(connection, server_hostname=host) as secure:
            body = json.dumps(REVIEW)
            path = f"{client['path']}?timeout={hook['timeoutSeconds']}s"
            head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
            secure.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            with secure.makefile("rb") as file:
                answer = file.read()
    text = answer.split(b"\r\n\r\n", 1)[1]
    response = json.loads(text)["response"]
    assert response["uid"] == REVIEW["request"]["uid"], response
    # The registry cannot be found, and the default rule lets that run, with a word.
    assert response["allowed"] is True and "could not be found out" in response["warnings"][0], response
    # It is the service that says so, and not the shim's fail policy.
    assert response["auditAnnotations"]["source"] == "service", response


def t173_the_shim_runs_as_the_chart_has_it_and_is_answered_by_the_service():
    documents = everything()["defaults"]
    templates = dict(pods(documents))
    [hook] = [hook for hook in webhooks(documents) if hook["name"] == "pods.portcullis.dev"]
    service = f"gate-portcullis.{NAMESPACE}.svc"
    with running(COMMAND, documents, templates["gate-portcullis"]) as (container, process):
        becomes(container, process, "readinessProbe")
        with running(COMMAND, documents, templates["gate-portcullis-shim"], [service]) as (container, process):
            becomes(container, process, "readinessProbe")
            the_service_answers(hook)


def t173_a_shim_that_makes_its_own_certificate_runs_as_the_chart_has_it():
    """It has its token from the volume of the chart, and is known by what it told the API server."""
    documents = everything()["self"]
    templates = dict(pods(documents))
    service = f"gate-portcullis.{NAMESPACE}.svc"
    with api(documents) as (authority, objects):
        known = {"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": authority}}
        documents = [*documents, known]
        with running(COMMAND, documents, templates["gate-portcullis"]) as (container, process):
            becomes(container, process, "readinessProbe")
            with running(COMMAND, documents, templates["gate-portcullis-shim"], [service, HOST]) as (container, process):
                becomes(container, process, "readinessProbe")
                [secret] = [each for path, each in objects.items() if path.endswith("-shim-own")]
                hooks = webhooks(objects.values())
                bundles = {hook["clientConfig"].get("caBundle") for hook in hooks}
                assert bundles == {secret["data"]["ca.crt"]}, bundles
                assert {hook["name"] for hook in hooks} >= {"pods.portcullis.dev"} and len(hooks) > 2, hooks
                [hook] = [hook for hook in hooks if hook["name"] == "pods.portcullis.dev"]
                the_service_answers(hook)


def test_an_api_server_with_a_wrong_bundle_is_counted():
    """Nothing else tells of it: no review arrives. PortcullisShimRefused looks at the count."""
    documents = everything()["defaults"]
    [hook] = [hook for hook in webhooks(documents) if hook["name"] == "pods.portcullis.dev"]
    right = base64.b64decode(hook["clientConfig"]["caBundle"]).decode()
    [hook] = [hook for hook in webhooks(render()) if hook["name"] == "pods.portcullis.dev"]
    wrong = base64.b64decode(hook["clientConfig"]["caBundle"]).decode()
    host = f"gate-portcullis-shim.{NAMESPACE}.svc"

    def is_believed(bundle):
        trusted = ssl.create_default_context(cadata=bundle)
        with socket.create_connection(("127.0.0.1", 8443), PATIENCE) as connection:
            try:
                with trusted.wrap_socket(connection, server_hostname=host):
                    return True
            except ssl.SSLCertVerificationError:
                return False

    def refused():
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        found = re.search(r'^portcullis_shim_refused_total\{reason="handshake"\} (\d+)$', text, re.MULTILINE)
        return int(found[1]) if found else 0

    template = dict(pods(documents))["gate-portcullis-shim"]
    with running(COMMAND, documents, template, [f"gate-portcullis.{NAMESPACE}.svc"]) as (container, process):
        becomes(container, process, "livenessProbe")
        assert is_believed(right) and refused() == 0
        assert not is_believed(wrong)
        end = time.monotonic() + PATIENCE
        while refused() != 1:
            assert time.monotonic() < end, "nobody counted it"
            time.sleep(0.1)


def prerequisites():
    """What the examples say that must be there: Secrets and ConfigMaps of whoever installs."""
    made = of_kind(everything()["defaults"], "Secret")
    pull = {"metadata": {"name": "registry-pull"}, "kind": "Secret", "stringData": {".dockerconfigjson": '{"auths": {}}'}}
    client = next(each for each in made if each["metadata"]["name"].endswith("-client-tls"))
    client = client | {"metadata": {"name": "portcullis-client"}}
    policy = "apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {rules: [{name: any, maxAllowed: {critical: 0}}]}\n"
    example = yaml.safe_load((CHART / "examples/all-in-one.yaml").read_text())
    trust = json.dumps(example["service"]["trust"]["files"]["trustpolicy.json"])
    with tempfile.TemporaryDirectory() as folder:
        subject = ["-subj", "/C=US/ST=WA/O=Example/CN=root", "-days", "1", "-keyout", f"{folder}/key"]
        root = openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, text="")
    maps = {"portcullis-rules": {"base.yaml": policy}, "portcullis-trust": {"trustpolicy.json": trust, "root.pem": root}}
    maps = [{"kind": "ConfigMap", "metadata": {"name": name}, "data": data} for name, data in maps.items()]
    return [*made, pull, client, *maps], {"service": {"trust": {"files": {"x509/ca/scanners/root.pem": root}}}}


def test_each_example_starts():
    """With what clouds add to pods: variables, and a token."""
    azure = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": CLOUD_TOKEN}
    amazon = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/portcullis", "AWS_WEB_IDENTITY_TOKEN_FILE": CLOUD_TOKEN}
    clouds = {"aks": azure, "eks": amazon}
    there, root = prerequisites()
    for example in EXAMPLES:
        values = root if example.stem == "all-in-one" else {}
        documents = render("--values", str(example), values=values)
        rendered = [(each["kind"], each["metadata"]["name"]) for each in documents]
        documents += [each for each in there if (each["kind"], each["metadata"]["name"]) not in rendered]
        for name, template in pods(documents):
            with running(COMMAND, documents, template, cloud=clouds.get(example.stem)) as (container, process):
                becomes(container, process, "livenessProbe")
            print(f"   {example.stem}: {name} starts")


def test_the_example_of_registry_events_is_told_over_tls_and_tells_who_may():
    text = (CHART / "README.md").read_text().split("## Registry events")[1]
    values = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    documents = render(values=values)
    token, name = "a token of the registry", "gate-portcullis"
    with tempfile.TemporaryDirectory() as folder:
        made = {end: str(pathlib.Path(folder) / end) for end in ("tls.crt", "tls.key")}
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=events",
                "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", made["tls.key"], "-out", made["tls.crt"])
        trusted = ssl.create_default_context(cafile=made["tls.crt"])
        secrets = {"registry-events": {"token": token},
                   "registry-events-tls": {end: pathlib.Path(path).read_text() for end, path in made.items()}}
    documents += [{"kind": "Secret", "metadata": {"name": name}, "stringData": data} for name, data in secrets.items()]
    template = dict(pods(documents))[name]
    [port] = [each["port"] for each in values["service"]["extraPorts"]]
    assert values["service"]["config"]["registryEvents"]["listen"] == f"0.0.0.0:{port}", values
    [own] = [each for each in of_kind(documents, "Service") if each["metadata"]["name"] == name]
    assert {"name": "events", "port": port, "targetPort": port} in own["spec"]["ports"], own
    with running(COMMAND, documents, template) as (container, process):
        becomes(container, process, "readinessProbe")
        for shown, expected in ((token, 202), ("another", 401)):
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=trusted)
            headers = {"Authorization": f"Bearer {shown}", "Content-Type": "application/json"}
            connection.request("POST", "/v1/events/builds", json.dumps({"events": []}), headers)
            assert connection.getresponse().status == expected, shown
