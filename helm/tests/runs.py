"""The command in the image, started as the chart has it."""

import json
import re
import stat
import subprocess
import tempfile

from certificates import openssl
from container import CLOUD_TOKEN, PATIENCE, becomes, image, running
from rendered import COMMAND, EXAMPLES, NAMESPACE, ROOT, everything, of_kind, pods, render


def test_flags_of_the_chart_are_those_of_the_command():
    """And back: what `serve` takes is given, but for help."""
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
    [(name, template)] = pods(documents)
    host = f"{name}.{NAMESPACE}.svc"
    [test] = of_kind(documents, "Pod")
    with running(COMMAND, documents, template) as (container, process):
        becomes(container, process, "readinessProbe")
        with running(COMMAND, documents, test, [host]) as (_, process):
            # The registry cannot be reached, which the default rule lets run.
            assert process.wait(PATIENCE) == 0, process.returncode
        strange = json.loads(json.dumps(test))
        strange["spec"]["containers"][0]["args"] = [each for each in test["spec"]["containers"][0]["args"]
                                                    if not each.startswith(("--tls-cert", "--tls-key"))]
        with running(COMMAND, documents, strange, [host]) as (_, process):
            assert process.wait(PATIENCE) == 1, process.returncode


def prerequisites():
    """What the examples say that must be there: Secrets and ConfigMaps of whoever installs."""
    made = of_kind(everything()["defaults"], "Secret")
    pull = {"metadata": {"name": "registry-pull"}, "kind": "Secret", "stringData": {".dockerconfigjson": '{"auths": {}}'}}
    policy = "apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {rules: [{name: any, maxAllowed: {critical: 0}}]}\n"
    trust = {
        "name": "scanners",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:scanners"],
        "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example"],
    }
    trust = json.dumps({"version": "1.0", "trustPolicies": [trust]})
    with tempfile.TemporaryDirectory() as folder:
        subject = ["-subj", "/C=US/ST=WA/O=Example/CN=root", "-days", "1", "-keyout", f"{folder}/key"]
        root = openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, text="")
    maps = {"portcullis-rules": {"base.yaml": policy}, "portcullis-trust": {"trustpolicy.json": trust, "root.pem": root}}
    maps = [{"kind": "ConfigMap", "metadata": {"name": name}, "data": data} for name, data in maps.items()]
    return [*made, pull, *maps]


def test_each_example_starts():
    """With what clouds add to pods: variables, and a token."""
    azure = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": CLOUD_TOKEN}
    amazon = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/portcullis", "AWS_WEB_IDENTITY_TOKEN_FILE": CLOUD_TOKEN}
    clouds = {"aks": azure, "eks": amazon}
    there = prerequisites()
    for example in EXAMPLES:
        documents = render("--values", str(example))
        rendered = [(each["kind"], each["metadata"]["name"]) for each in documents]
        documents += [each for each in there if (each["kind"], each["metadata"]["name"]) not in rendered]
        for name, template in pods(documents):
            with running(COMMAND, documents, template, cloud=clouds.get(example.stem)) as (container, process):
                becomes(container, process, "livenessProbe")
            print(f"   {example.stem}: {name} starts")
