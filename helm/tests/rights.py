"""What pods may do, whom they may reach, and how many there are."""

from rendered import everything, of_kind, one, pods


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
            for container in spec["containers"]:
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


def t177_nothing_may_ask_the_api_server():
    for name, documents in everything().items():
        kinds = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
        assert not of_kind(documents, *kinds), name
        for account in of_kind(documents, "ServiceAccount"):
            assert account["automountServiceAccountToken"] is False, name
