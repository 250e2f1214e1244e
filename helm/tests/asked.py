"""What the API server asks about, and when it does without an answer."""

import json

import yaml

from rendered import NAMESPACE, SCHEMAS, WEBHOOKS, everything, of_kind, one, refused, render, webhooks


def asked_about(hooks):
    """(group, version, resource, operation) of all rules."""
    return {
        (group, version, resource, operation)
        for hook in hooks
        for rule in hook["rules"]
        for group in rule["apiGroups"]
        for version in rule["apiVersions"]
        for resource in rule["resources"]
        for operation in rule["operations"]
    }


def holds_images():
    """Kinds of Kubernetes that hold the specification of a pod, as (group, version, plural), by its published API."""
    definitions = json.loads((SCHEMAS / "_swagger.json").read_text())["definitions"]
    pod = "io.k8s.api.core.v1.PodSpec"

    def names(schema):
        if isinstance(schema, dict):
            reference = schema.get("$ref")
            if isinstance(reference, str):
                yield reference.removeprefix("#/definitions/")
            schema = list(schema.values())
        for each in schema if isinstance(schema, list) else []:
            yield from names(each)

    holders, grown = {pod}, True
    while grown:
        more = {name for name, schema in definitions.items() if holders & set(names(schema))}
        grown = not more <= holders
        holders |= more
    kinds = {
        (kind["group"], kind["version"], kind["kind"])
        for name in holders
        for kind in definitions[name].get("x-kubernetes-group-version-kind", [])
    }
    core = json.loads((SCHEMAS / "discovery/api__v1.json").read_text())["resources"]
    plural = {("", "v1", each["kind"]): ("", "v1", each["name"]) for each in core if "/" not in each["name"]}
    for group in json.loads((SCHEMAS / "discovery/aggregated_v2.json").read_text())["items"]:
        for version in group["versions"]:
            for each in version["resources"]:
                response = each["responseKind"]
                place = (group["metadata"]["name"], version["version"])
                plural[(*place, response["kind"])] = (*place, each["resource"])
    return {plural[kind] for kind in kinds if kind in plural}


def t058_containers_that_are_put_into_a_pod_later_are_asked_about():
    for documents in (everything()["defaults"], everything()["full"]):
        for each in of_kind(documents, *WEBHOOKS):
            [hook] = [hook for hook in each["webhooks"] if hook["name"] in ("pods.portcullis.dev", "pins.portcullis.dev")]
            rules = asked_about([hook])
            assert ("", "v1", "pods/ephemeralcontainers", "UPDATE") in rules, hook["name"]


def t059_every_kind_that_holds_images_is_asked_about_by_its_plural_name():
    expected = holds_images()
    assert ("apps", "v1", "deployments") in expected and ("", "v1", "pods") in expected and len(expected) > 7, expected
    for name in ("defaults", "full"):
        [validating] = of_kind(everything()[name], "ValidatingWebhookConfiguration")
        rules = asked_about(validating["webhooks"])
        for operation in ("CREATE", "UPDATE"):
            asked = {(group, version, resource) for group, version, resource, each in rules if each == operation}
            assert asked - {("", "v1", "pods/ephemeralcontainers")} == expected, asked ^ expected
    values = {"webhook": {"customResources": [{"group": "argoproj.io", "versions": ["*"], "resources": ["rollouts"]}]}}
    [validating] = of_kind(render(values=values), "ValidatingWebhookConfiguration")
    assert ("argoproj.io", "*", "rollouts", "UPDATE") in asked_about(validating["webhooks"])


def t060_pods_that_change_or_go_are_asked_about_and_nothing_else_narrows():
    for hook in webhooks(everything()["full"]):
        operations = {each[3] for each in asked_about([hook])}
        assert operations == {"CREATE", "UPDATE"}, hook["name"]
        # Conditions and selectors of objects are what their authors write.
        assert not hook.get("matchConditions") and not hook.get("objectSelector"), hook["name"]


def t064_only_names_that_administrators_own_exempt_a_namespace():
    for name, documents in everything().items():
        for hook in webhooks(documents) if of_kind(documents, *WEBHOOKS) else []:
            selector = hook["namespaceSelector"]
            assert set(selector) == {"matchExpressions"}, name
            [expression] = selector["matchExpressions"]
            assert (expression["key"], expression["operator"]) == ("kubernetes.io/metadata.name", "NotIn"), name
    refused({"webhook": {"exemptNamespaces": ["team-*"]}}, "/webhook/exemptNamespaces")
    refused({"webhook": {"namespaceSelector": {"matchLabels": {"skip": "true"}}}}, "/webhook", "namespaceSelector")


def t176_the_webhook_is_as_calm_as_it_can_be():
    values = {"webhook": {"exemptNamespaces": ["calico-system"], "pinning": {"enabled": True}}}
    documents = render(values=values)
    for hook in webhooks(documents):
        where = hook["name"]
        assert hook["sideEffects"] == "NoneOnDryRun" and hook["matchPolicy"] == "Equivalent", where
        assert hook["timeoutSeconds"] == 3 and hook["admissionReviewVersions"] == ["v1"], where
        assert hook["failurePolicy"] == "Ignore", where
        [exempt] = hook["namespaceSelector"]["matchExpressions"]
        assert exempt["values"] == ["calico-system", "kube-system", NAMESPACE], where
        assert all(rule["scope"] == "Namespaced" for rule in hook["rules"]), where
        assert hook["clientConfig"]["service"]["name"] == "gate-portcullis-shim", where
    shim = yaml.safe_load(one(documents, "ConfigMap", "-shim-config")["data"]["shim.yaml"])
    assert shim["exemptNamespaces"] == ["calico-system", "kube-system", NAMESPACE]
    assert shim["namespace"] == NAMESPACE and shim["timeout"] == "2500ms"
    strict = render(values={"webhook": {"failurePolicy": "Fail"}})
    policies = {hook["name"]: hook["failurePolicy"] for hook in webhooks(strict)}
    assert policies == {"pods.portcullis.dev": "Fail", "workloads.portcullis.dev": "Ignore"}, policies
