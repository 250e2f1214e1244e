"""What pods may do, whom they may reach, and how many there are."""

import yaml

from rendered import ROOT, WEBHOOKS, everything, of_kind, one, pods, render


def is_confined(spec, where):
    """What every pod of ours promises."""
    pod = spec["securityContext"]
    assert pod["runAsNonRoot"] is True and pod["runAsUser"] >= 10_000, where
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, where
    assert spec["automountServiceAccountToken"] is False, where
    assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), where
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume], where
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, where
        assert security["readOnlyRootFilesystem"] is True, where
        assert security["capabilities"] == {"drop": ["ALL"]}, where
        assert not security.get("privileged"), where
        assert container["resources"]["limits"]["memory"], where
        assert container["resources"]["requests"]["cpu"], where


def t174_pods_have_no_privileges_and_are_many():
    for name, documents in everything().items():
        for pod in of_kind(documents, "Pod"):
            is_confined(pod["spec"], f"{name}/{pod['metadata']['name']}")
        for workload, template in pods(documents):
            spec, where = template["spec"], f"{name}/{workload}"
            is_confined(spec, where)
            assert spec["terminationGracePeriodSeconds"] >= 60, where
            spread = [each["topologyKey"] for each in spec["topologySpreadConstraints"]]
            assert spread == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], where
            # The first is ours; a sidecar is whose who names it.
            for container in spec["containers"][:1]:
                assert container["readinessProbe"] and container["livenessProbe"], where
            disruptions = [each["spec"] for each in of_kind(documents, "PodDisruptionBudget")]
            labels = template["metadata"]["labels"]
            mine = [each for each in disruptions if each["selector"]["matchLabels"].items() <= labels.items()]
            assert [each["maxUnavailable"] for each in mine] == [1], where
        for maker in of_kind(documents, "Deployment", "StatefulSet"):
            scalers = [each["spec"] for each in of_kind(documents, "HorizontalPodAutoscaler")]
            scaled = [each for each in scalers if each["scaleTargetRef"]["name"] == maker["metadata"]["name"]]
            replicas = scaled[0]["minReplicas"] if scaled else maker["spec"]["replicas"]
            assert replicas >= 2, f"{name}: {replicas} replicas"
            assert not scaled or "replicas" not in maker["spec"], f"{name}: an upgrade would undo what the scaler did"
    scaled = {each["metadata"]["name"] for each in of_kind(everything()["full"], "HorizontalPodAutoscaler")}
    assert scaled == {"gate-portcullis", "gate-portcullis-shim"}, scaled


def test_a_sidecar_is_in_the_pod_and_can_be_reached():
    """With the confinement that its values leave, and at its port of the Services."""
    values = yaml.safe_load((ROOT / "helm/tests/full.yaml").read_text())
    documents = render(values=values | {"service": values["service"] | {"expose": {"enabled": True}}})
    template = dict(pods(documents))["gate-portcullis"]
    ours, sidecar = template["spec"]["containers"]
    assert (ours["name"], sidecar["name"]) == ("service", "events")
    expected = ours["securityContext"] | {"runAsUser": 65533}
    assert sidecar["securityContext"] == expected, sidecar
    for end, port in (("gate-portcullis", 8443), ("-external", 443)):
        ports = one(documents, "Service", end)["spec"]["ports"]
        assert {"name": "events", "port": port, "targetPort": 8443} in ports, ports
    [policy] = [each for each in of_kind(documents, "NetworkPolicy") if each["metadata"]["name"] == "gate-portcullis"]
    assert {"ports": [{"protocol": "TCP", "port": 8443}]} in policy["spec"]["ingress"], policy


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
    labels = {"app.kubernetes.io/name": "portcullis", "app.kubernetes.io/instance": "gate"}
    peers = [{"podSelector": {"matchLabels": labels | {"app.kubernetes.io/component": part}}} for part in ("shim", "test")]
    assert len(asked) == 1 and asked[0]["from"] == peers, asked


ROLES = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def t177_nothing_may_ask_the_api_server():
    """But for a shim that makes its own certificate."""
    for name, documents in everything().items():
        assert name == "self" or not of_kind(documents, *ROLES), name
        for workload, template in pods(documents):
            account = [each for each in template["spec"]["volumes"] if each["name"] == "account"]
            assert bool(account) == ((name, workload) == ("self", "gate-portcullis-shim")), f"{name}/{workload}"
        for account in of_kind(documents, "ServiceAccount"):
            assert account["automountServiceAccountToken"] is False, name


def t177_a_shim_that_makes_its_own_certificate_may_touch_its_own_objects_alone():
    documents = everything()["self"]
    name, hooks = "gate-portcullis-shim", "gate-portcullis.portcullis"
    rules = {kind: one(documents, kind)["rules"] for kind in ("Role", "ClusterRole")}
    resources = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"]
    assert rules == {
        "Role": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [f"{name}-own"], "verbs": ["get", "update"]}],
        "ClusterRole": [{"apiGroups": ["admissionregistration.k8s.io"], "resources": resources,
                         "resourceNames": [hooks], "verbs": ["get", "patch"]}],
    }, rules
    account = {"kind": "ServiceAccount", "name": name, "namespace": "portcullis"}
    for kind in ("Role", "ClusterRole"):
        binding, role = one(documents, f"{kind}Binding"), one(documents, kind)["metadata"]["name"]
        assert binding["subjects"] == [account], binding
        assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, binding
    [template] = [template for workload, template in pods(documents) if workload == name]
    assert template["spec"]["serviceAccountName"] == name
    # These are the objects that it is configured to ask for.
    config = yaml.safe_load(one(documents, "ConfigMap", "shim-config")["data"]["shim.yaml"])["tls"]["self"]
    assert config["secret"] == f"{name}-own" and config["names"][0] == f"{name}.portcullis.svc", config
    assert config["validatingWebhooks"] == config["mutatingWebhooks"] == [hooks], config
    assert {each["metadata"]["name"] for each in of_kind(documents, *WEBHOOKS)} == {hooks}
    # Without pinning there is no such configuration, and no right to one.
    documents = render(values={"tls": {"mode": "self"}})
    assert one(documents, "ClusterRole")["rules"][0]["resources"] == resources[:1]
    config = yaml.safe_load(one(documents, "ConfigMap", "shim-config")["data"]["shim.yaml"])["tls"]["self"]
    assert "mutatingWebhooks" not in config
    # It reaches the API server through the network's policy.
    [policy] = [each for each in of_kind(everything()["self"], "NetworkPolicy") if each["metadata"]["name"] == name]
    assert [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]] == [53, 53, 443, 6443, 7443, 4317]
