"""The objects that the scenarios create."""


def container(image, name="main", **more):
    return {"name": name, "image": image, **more}


def pod(name, namespace, image, **spec):
    """A pod with one container; `spec` adds to its spec."""
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container(image)], **spec},
    }


def template(name, image, restart="Always"):
    return {"metadata": {"labels": {"app": name}},
            "spec": {"restartPolicy": restart, "containers": [container(image)]}}


def owned(document, kind, name, version="apps/v1"):
    """As a controller would have made it."""
    document["metadata"]["ownerReferences"] = [{
        "apiVersion": version, "kind": kind, "name": name, "controller": True,
        "uid": "5b4e1d1c-3c58-4d8c-8a1f-0f6f6d1f7a11"}]
    return document


def workloads(namespace, image):
    """One of each kind that makes pods."""

    def one(version, kind, spec):
        name = f"one-{kind.lower()}"
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **spec}

    def many(version, kind, **more):
        name = f"one-{kind.lower()}"
        return one(version, kind, {"spec": {
            "selector": {"matchLabels": {"app": name}}, "template": template(name, image), **more}})

    job = {"template": template("job", image, "Never")}
    return [
        many("apps/v1", "Deployment"),
        many("apps/v1", "ReplicaSet"),
        many("apps/v1", "StatefulSet", serviceName="none"),
        many("apps/v1", "DaemonSet"),
        one("batch/v1", "Job", {"spec": job}),
        one("batch/v1", "CronJob", {"spec": {"schedule": "0 4 * * *", "jobTemplate": {"spec": job}}}),
        one("v1", "ReplicationController", {"spec": {
            "selector": {"app": "one"}, "template": template("one", image)}}),
        one("v1", "PodTemplate", {"template": template("one", image)}),
    ]
