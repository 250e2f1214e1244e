"""The API that Kubernetes and two of its extensions publish in, a JSON Schema for each kind out, for kubeconform.

All come from the source modules themselves. Usage: schemas.py FOLDER KUBERNETES PROMETHEUS_OPERATOR CERT_MANAGER, where
the last three are folders of these modules. Fields that a kind does not have are errors, as `kubectl apply` has it.
"""

import json
import pathlib
import sys

import yaml


def strict(schema):
    """A schema of OpenAPI in, one that takes no other fields, and knows numbers that may be texts, out."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    # Texts of formats that only a server checks.
    out = {key: strict(value) for key, value in schema.items() if key != "format" and not key.startswith("x-")}
    if isinstance(schema.get("properties"), dict):
        # A property may be called as a word of JSON Schema is.
        out["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            out["additionalProperties"] = False
    return out


def reachable(definitions, schema, seen):
    """Which definitions a schema is made of."""
    if isinstance(schema, list):
        for item in schema:
            reachable(definitions, item, seen)
    elif isinstance(schema, dict):
        name = schema.get("$ref", "").removeprefix("#/definitions/") if isinstance(schema.get("$ref"), str) else ""
        if name and name not in seen:
            seen.add(name)
            reachable(definitions, definitions[name], seen)
        for value in schema.values():
            reachable(definitions, value, seen)
    return seen


def write(folder, group, version, kind, schema):
    """Under the name that kubeconform looks for: kind, first label of the group, version."""
    parts = [kind.lower()] + ([group.split(".")[0]] if group else []) + [version]
    (folder / ("-".join(parts) + ".json")).write_text(json.dumps(schema))


def kubernetes(folder, module):
    document = json.loads((module / "api/openapi-spec/swagger.json").read_text())
    raw = document["definitions"]
    definitions = {name: strict(schema) for name, schema in raw.items()}
    quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity"
    definitions[quantity] = {"anyOf": [{"type": "string"}, {"type": "number"}]}
    for name, schema in raw.items():
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1 or "properties" not in schema:
            continue
        needed = reachable(definitions, definitions[name], set())
        whole = definitions[name] | {"definitions": {each: definitions[each] for each in sorted(needed)}}
        write(folder, kinds[0]["group"], kinds[0]["version"], kinds[0]["kind"], whole)


def extension(folder, path):
    """The kinds of the custom resource definitions in one file."""
    for document in yaml.safe_load_all(path.read_text()):
        spec = document["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
            schema["properties"] |= properties
            write(folder, spec["group"], version["name"], spec["names"]["kind"], schema)


def main():
    folder, *modules = map(pathlib.Path, sys.argv[1:])
    kubernetes_module, prometheus, cert_manager = modules
    folder.mkdir(parents=True, exist_ok=True)
    kubernetes(folder, kubernetes_module)
    for name in ("servicemonitors", "prometheusrules"):
        extension(folder, prometheus / f"example/prometheus-operator-crd/monitoring.coreos.com_{name}.yaml")
    for name in ("certificates", "issuers"):
        extension(folder, cert_manager / f"deploy/crds/cert-manager.io_{name}.yaml")
    # What the API server serves, for tests of what webhooks are asked about.
    (folder / "_swagger.json").write_bytes((kubernetes_module / "api/openapi-spec/swagger.json").read_bytes())
    discovery = folder / "discovery"
    discovery.mkdir(exist_ok=True)
    for path in (kubernetes_module / "api/discovery").glob("*.json"):
        (discovery / path.name).write_bytes(path.read_bytes())
    print(f"{len(list(folder.glob('*.json')))} schemas")


main()
