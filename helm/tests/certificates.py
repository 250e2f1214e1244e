"""How shim, service and API server know each other."""

import base64
import ssl
import subprocess
import tempfile

import yaml

from cluster import cluster
from rendered import NAMESPACE, SCHEMAS, WEBHOOKS, everything, of_kind, one, pods, refused, render, webhooks


def decoded(secret):
    return {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}


def openssl(*arguments, text=""):
    done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_generated_certificates_are_of_one_authority_that_no_pod_has():
    documents = everything()["full"]
    secrets = {each["metadata"]["name"]: decoded(each) for each in of_kind(documents, "Secret")}
    authority = secrets.pop("gate-portcullis-ca")["tls.crt"]
    assert set(secrets) == {"gate-portcullis-service-tls", "gate-portcullis-shim-tls", "gate-portcullis-client-tls"}
    names = {}
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(authority)
        file.flush()
        for name, secret in secrets.items():
            assert secret["ca.crt"] == authority, name
            openssl("verify", "-CAfile", file.name, text=secret["tls.crt"])
            public = openssl("x509", "-noout", "-pubkey", text=secret["tls.crt"])
            assert public == openssl("pkey", "-pubout", text=secret["tls.key"]), name
            names[name] = openssl("x509", "-noout", "-ext", "subjectAltName", text=secret["tls.crt"])
    assert "DNS:gate-portcullis.portcullis.svc" in names["gate-portcullis-service-tls"]
    assert "DNS:gate-portcullis-shim.portcullis.svc" in names["gate-portcullis-shim-tls"]
    assert "DNS:shim.local.portcullis" in names["gate-portcullis-client-tls"]
    for hook in webhooks(documents):
        assert base64.b64decode(hook["clientConfig"]["caBundle"]).decode() == authority
    mounted = [volume.get("secret", {}).get("secretName") for _, pod in pods(documents) for volume in pod["spec"]["volumes"]]
    assert "gate-portcullis-ca" not in mounted and "gate-portcullis-client-tls" in mounted, mounted


def test_generated_certificates_stay_until_they_are_due():
    """Upgrades see the Secrets that are there; each is made again for its own reason alone."""
    objects = {}
    place = f"/api/v1/namespaces/{NAMESPACE}/secrets/"
    names = ["gate-portcullis-" + end for end in ("ca", "service-tls", "shim-tls", "client-tls")]
    authority, service, shim, client = names

    def upgrade(values=None):
        """Renders, keeps what came out as the cluster would, and says which key pairs are new."""
        with cluster(SCHEMAS / "discovery", objects) as config:
            arguments = ["--dry-run=server", "--disable-openapi-validation", "--kubeconfig", str(config)]
            documents = render(*arguments, values=values)
        secrets = {place + each["metadata"]["name"]: each for each in of_kind(documents, "Secret")}
        assert set(secrets) == {place + name for name in names}
        new = {name for name in names if place + name not in objects
               or objects[place + name]["data"]["tls.key"] != secrets[place + name]["data"]["tls.key"]}
        for path, secret in secrets.items():
            # As helm marks what is a release's.
            owner = {"meta.helm.sh/release-name": "gate", "meta.helm.sh/release-namespace": NAMESPACE}
            secret["metadata"]["annotations"] |= owner
            objects[path] = secret
        bundles = {hook["clientConfig"]["caBundle"] for hook in webhooks(documents)}
        bundles |= {secrets[place + name]["data"]["ca.crt"] for name in (service, shim, client)}
        assert len(bundles) == 1, "who is asked and who asks know other authorities"
        return new, base64.b64decode(bundles.pop()).decode()

    new, first = upgrade()
    assert new == set(names)
    assert upgrade() == (set(), first)
    # A pair that is due, one that is for other names, and one that somebody has broken.
    objects[place + client]["metadata"]["annotations"]["portcullis.dev/renew-after"] = "1"
    assert upgrade() == ({client}, first)
    assert upgrade({"tls": {"extraNames": ["portcullis.example"]}}) == ({service}, first)
    del objects[place + shim]["data"]["tls.crt"]
    extra = {"tls": {"extraNames": ["portcullis.example"]}}
    assert upgrade(extra) == ({shim}, first)
    # A new authority: whoever was signed by the one before is still known.
    objects[place + authority]["metadata"]["annotations"]["portcullis.dev/renew-after"] = "1"
    new, second = upgrade(extra)
    assert new == {authority} and second.endswith(first) and second != first
    assert upgrade(extra) == (set(), second)
    # One that was taken away leaves nobody who knows what it signed.
    del objects[place + authority]
    new, third = upgrade(extra)
    assert new == set(names) and first not in third and second not in third
    assert upgrade(extra) == (set(), third)


def test_cert_manager_makes_what_pods_mount():
    documents = everything()["cert-manager"]
    made = {each["spec"]["secretName"] for each in of_kind(documents, "Certificate")}
    mounted = [volume.get("secret", {}).get("secretName") for _, pod in pods(documents) for volume in pod["spec"]["volumes"]]
    assert {name for name in mounted if name} == made - {"gate-portcullis-ca"}, (made, mounted)
    for each in of_kind(documents, *WEBHOOKS):
        source = each["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
        assert source == f"{NAMESPACE}/gate-portcullis-shim-tls"
        # An upgrade would take away what was put there.
        assert all("caBundle" not in hook["clientConfig"] for hook in each["webhooks"])


def test_what_the_shim_makes_itself_is_no_part_of_a_release():
    """An upgrade would take it away."""
    documents = everything()["self"]
    own = one(documents, "Secret", "shim-own")
    assert own["type"] == "Opaque" and not {"data", "stringData"} & set(own), own
    assert all("caBundle" not in hook["clientConfig"] for hook in webhooks(documents))
    mounted = {volume.get("secret", {}).get("secretName") for _, pod in pods(documents) for volume in pod["spec"]["volumes"]}
    # Only the process that makes it sees it.
    assert mounted - {None} == {"gate-portcullis-service-tls", "gate-portcullis-client-tls"}, mounted


def test_no_generated_certificate_outlives_its_authority():
    objects, day = {}, 24 * 3600

    def upgrade(values):
        with cluster(SCHEMAS / "discovery", objects) as config:
            arguments = ["--dry-run=server", "--disable-openapi-validation", "--kubeconfig", str(config)]
            documents = render(*arguments, values=values)
        for secret in of_kind(documents, "Secret"):
            owner = {"meta.helm.sh/release-name": "gate", "meta.helm.sh/release-namespace": NAMESPACE}
            secret["metadata"]["annotations"] |= owner
            objects[f"/api/v1/namespaces/{NAMESPACE}/secrets/{secret['metadata']['name']}"] = secret
        ends = {}
        for secret in of_kind(documents, "Secret"):
            text = openssl("x509", "-noout", "-enddate", text=decoded(secret)["tls.crt"]).strip().removeprefix("notAfter=")
            ends[secret["metadata"]["name"].removeprefix("gate-portcullis-")] = ssl.cert_time_to_seconds(text)
        return ends, objects[f"/api/v1/namespaces/{NAMESPACE}/secrets/gate-portcullis-ca"]["metadata"]["annotations"]

    short = {"tls": {"generated": {"days": 10, "renewBefore": 3}}}
    first, annotations = upgrade(short)
    assert int(annotations["portcullis.dev/ends"]) - first["ca"] in range(-3605, -3595), annotations
    # Of what is signed later, for longer than the authority has left.
    long = {"tls": {"generated": {"days": 400, "renewBefore": 3}, "extraNames": ["portcullis.example"]}}
    second, _ = upgrade(long)
    assert second["ca"] == first["ca"] and second["service-tls"] != first["service-tls"]
    assert all(end <= second["ca"] for end in second.values()), second
    assert second["ca"] - second["service-tls"] < 2 * day, second
    service = objects[f"/api/v1/namespaces/{NAMESPACE}/secrets/gate-portcullis-service-tls"]["metadata"]["annotations"]
    assert service["portcullis.dev/renew-after"] == annotations["portcullis.dev/renew-after"], "it is renewed later"
    refused({"tls": {"generated": {"days": 10, "renewBefore": 10}}}, "tls.generated.renewBefore", "tls.generated.days")


def test_provided_secrets_are_mounted_and_none_is_made():
    documents = everything()["provided"]
    assert not of_kind(documents, "Secret", "Certificate", "Issuer")
    mounted = [volume.get("secret", {}).get("secretName") for _, pod in pods(documents) for volume in pod["spec"]["volumes"]]
    assert {name for name in mounted if name} == {"service", "shim", "client"}, mounted


def test_the_cluster_of_a_release_is_known_by_the_certificate_of_its_shim():
    clusters = [{"name": "other", "identities": ["shim.other.portcullis"]}, {"name": "prod-eu", "platforms": ["linux/arm64"]}]
    values = {
        "cluster": {"name": "prod-eu", "cloud": {"provider": "aws"}},
        "service": {"config": {"clusters": clusters}},
    }
    config = yaml.safe_load(one(render(values=values), "ConfigMap", "portcullis-config")["data"]["portcullis.yaml"])
    mine = {"name": "prod-eu", "platforms": ["linux/arm64"], "cloud": {"provider": "aws"}}
    assert config["clusters"] == [clusters[0], mine | {"identities": ["shim.prod-eu.portcullis"]}], config["clusters"]
    values["shim"] = {"identity": "shim.eu.example"}
    config = yaml.safe_load(one(render(values=values), "ConfigMap", "portcullis-config")["data"]["portcullis.yaml"])
    assert config["clusters"] == [clusters[0], mine | {"identities": ["shim.eu.example"]}], config["clusters"]
