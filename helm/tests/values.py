"""Values in, what is refused and what stays out."""

import functools
import json
import re

import yaml

from rendered import CHART, PROVIDED, ROOT, WEBHOOKS, everything, helm, of_kind, one, refused, render


def test_what_is_misspelt_or_out_of_range_is_refused():
    refused({"service": {"replica": 3}}, "/service", "replica")
    refused({"service": {"replicas": 0}}, "/service/replicas")
    refused({"service": {"config": {"listen": "0.0.0.0:1"}}}, "/service/config", "listen")
    refused({"service": {"rules": {"files": {"rules.json": "{}"}}}}, "/service/rules/files")
    refused({"service": {"trust": {"files": {"../trustpolicy.json": "{}"}}}}, "../trustpolicy.json")
    refused({"service": {"sidecars": [{"name": "service", "image": "a"}]}}, "/service/sidecars/0/name")
    refused({"service": {"sidecars": [{"name": "a"}]}}, "/service/sidecars/0", "image")
    refused({"service": {"extraPorts": [{"name": "grpc", "port": 8443}]}}, "/service/extraPorts/0/name")
    refused({"service": {"extraPorts": [{"name": "a", "port": 7443}]}}, "/service/extraPorts/0/port")
    refused({"service": {"terminationGracePeriodSeconds": 39}}, "/service/terminationGracePeriodSeconds")
    refused({"shim": {"terminationGracePeriodSeconds": 29}}, "/shim/terminationGracePeriodSeconds")
    refused({"image": {"digest": "sha256:12"}}, "/image/digest")
    refused({"webhook": {"timeoutSeconds": 31}}, "/webhook/timeoutSeconds")
    refused({"webhook": {"failurePolicy": "Maybe"}}, "/webhook/failurePolicy")
    refused({"shim": {"servers": ["http://portcullis.example:7443"]}}, "/shim/servers")
    refused({"shim": {"config": {"exemptNamespaces": ["a"]}}}, "/shim/config", "exemptNamespaces")
    for traces in ({"otlpEndpoint": "https://a:1"}, {"sampleRatio": 1.1}, {"propagateToRegistries": True}):
        refused({"shim": {"config": {"traces": traces}}}, "/shim/config/traces", next(iter(traces)))


def test_what_cannot_work_is_refused_with_its_cure():
    alone = {"service": {"enabled": False}}
    refused(alone | {"shim": {"enabled": False}}, "service.enabled or shim.enabled")
    refused(alone, "shim.servers")
    refused(alone | {"shim": {"servers": ["https://portcullis.example:7443"]}}, "shim.clientSecret")
    refused({"shim": {"enabled": False}}, "service.config.clusters")
    shared = {"tls": {"mode": "self"}, "shim": {"serviceAccount": {"create": False}}}
    refused(shared, "shim.serviceAccount.name")
    refused({"shim": {"identity": "spiffe://example.org/prod"}}, "shim.clientSecret")
    # Of another cluster `prod-eu` would be the shim.
    for name in ("Prod EU", "prod_eu", "-prod-eu", "a" * 61):
        refused({"cluster": {"name": name}}, "cluster.name", "shim.identity")
        render(values={"cluster": {"name": name}, "shim": {"identity": "shim.prod.example"}})
    render(values={"cluster": {"name": "a" * 60}})
    for path in ("tls.provided.serviceSecret", "tls.provided.shimSecret", "tls.provided.caBundle", "shim.clientSecret"):
        values = json.loads(json.dumps(PROVIDED))
        *parents, last = path.split(".")
        del functools.reduce(dict.get, parents, values)[last]
        refused(values, path)


def test_a_trust_policy_without_its_certificates_is_refused_with_its_cure():
    """The service would not start for it."""
    done = helm("--values", str(CHART / "examples/all-in-one.yaml"))
    assert done.returncode != 0 and r"--set-file 'service.trust.files.x509/ca/scanners/root\.pem" in done.stderr, done.stderr
    stores = ["ca:scanners", "tsa:times"]
    policy = {"version": "1.0", "trustPolicies": [{"name": "a"}, {"name": "b", "trustStores": stores}]}
    for text in (policy, json.dumps(policy), yaml.safe_dump(policy)):
        files = {"trustpolicy.json": text, "x509/ca/scanners/a.pem": "a"}
        refused({"service": {"trust": {"files": files}}}, "`tsa:times`", "x509/tsa/times/")
        render(values={"service": {"trust": {"files": files | {"x509/tsa/times/b.pem": "b"}}}})
    # What is no policy, the service says with line and column.
    for text in ("{", "[]", "trustPolicies: 1", "trustPolicies: [1, {trustStores: a}]"):
        render(values={"service": {"trust": {"files": {"trustpolicy.json": text}}}})


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
    struct = re.search(r"\n(?:pub\(super\) )?struct File \{(.*?)\n\}", (ROOT / source).read_text(), re.DOTALL)
    names = re.findall(r"^    (?:pub(?:\(\w+\))? )?(\w+):", struct[1], re.MULTILINE)
    assert len(names) > 5, names
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), name) for name in names}


def test_every_setting_can_be_given_or_is_the_charts_own():
    schema = json.loads((CHART / "values.schema.json").read_text())
    for part, source, own in (
        ("service", "server/src/config.rs", {"listen", "admin", "dataDir", "rules"}),
        ("shim", "shim/src/config/file.rs", {"listen", "admin", "tls", "context", "namespace", "exemptNamespaces"}),
    ):
        given = set(schema["properties"][part]["properties"]["config"]["properties"])
        assert given | own == fields_of(source), f"{part}: {(given | own) ^ fields_of(source)}"
        assert not given & own, part


def test_the_shim_sends_its_spans_where_it_is_told_to_and_is_let_there():
    documents = everything()["full"]
    config = yaml.safe_load(one(documents, "ConfigMap", "shim-config")["data"]["shim.yaml"])
    assert config["traces"] == {"otlpEndpoint": "http://collector.observability:4317", "sampleRatio": 0.25}, config
    assert config["log"] == {"format": "json", "maxPerSecond": 10}, config
    for name in ("gate-portcullis", "gate-portcullis-shim"):
        [policy] = [each for each in of_kind(documents, "NetworkPolicy") if each["metadata"]["name"] == name]
        assert [{"port": 4317, "protocol": "TCP"}] in [rule["ports"] for rule in policy["spec"]["egress"]], name


def test_rendering_again_changes_nothing():
    """But for certificates, which a cluster keeps and a rendering without one cannot."""

    def stable(documents):
        for hook in (hook for each in of_kind(documents, *WEBHOOKS) for hook in each["webhooks"]):
            del hook["clientConfig"]["caBundle"]
        return [document for document in documents if document["kind"] != "Secret"]

    assert stable(render()) == stable(render())


def test_what_selects_pods_never_changes():
    """A selector is immutable: an upgrade that changes one fails."""
    for part, name in (("service", "gate-portcullis"), ("shim", "gate-portcullis-shim")):
        labels = {
            "app.kubernetes.io/name": "portcullis",
            "app.kubernetes.io/instance": "gate",
            "app.kubernetes.io/component": part,
        }
        documents = everything()["full"]
        assert one(documents, "Deployment", name)["spec"]["selector"]["matchLabels"] == labels
        service = one(documents, "Service", name)["spec"]
        assert service["selector"] == labels, name


def test_dashboard_and_alerts_are_those_of_the_tree():
    documents = everything()["full"]
    dashboard = one(documents, "ConfigMap", "-dashboard")["data"]["portcullis.json"]
    assert json.loads(dashboard) == json.loads((ROOT / "observability/dashboard.json").read_text())
    alerts = one(documents, "PrometheusRule")["spec"]
    assert alerts == yaml.safe_load((ROOT / "observability/alerts.yaml").read_text())


def test_a_release_has_the_alerts_of_what_it_has():
    """What it has not would be absent for ever."""
    whole = {group["name"]: group for group in yaml.safe_load((ROOT / "observability/alerts.yaml").read_text())["groups"]}
    alone = {"servers": ["https://portcullis.example:7443"], "clientSecret": "client"}
    service = {"shim": {"enabled": False}, "service": {"config": {"clusters": [{"name": "a", "identities": ["a"]}]}}}
    shim = {"service": {"enabled": False}, "shim": alone}
    for values, names in (({}, list(whole)), (service, ["portcullis"]), (shim, ["portcullis-shim"])):
        expected = {"groups": [whole[name] for name in names]}
        documents = render(values=values | {"observability": {"alerts": {"kind": "PrometheusRule"}}})
        assert one(documents, "PrometheusRule")["spec"] == expected, names
        documents = render(values=values | {"observability": {"alerts": {"kind": "ConfigMap"}}})
        assert yaml.safe_load(one(documents, "ConfigMap", "-alerts")["data"]["alerts.yaml"]) == expected, names
