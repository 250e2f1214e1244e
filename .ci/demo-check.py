"""Reads the demo's JSON document and holds it to what the demo promises."""

import json
import sys

EXPECTED = {
    "clean": "allow",
    "critical": "deny",
    "accepted": "allow",
    "unscanned": "deny",
    "unsigned": "deny",
    "tampered": "deny",
    "multi": "deny",
}

document = json.load(sys.stdin)
checks = document["checks"]
for name, action in EXPECTED.items():
    found = [c for c in checks if f"/{name}:" in c["image"]]
    assert found, f"no check of {name}"
    for check in found:
        assert check["action"] == action, f"{check['image']} was {check['action']}, not {action}"
        assert check["took_us"] > 0
sources = {check["evidence"]["source"] for check in checks}
assert sources == {"registry", "memory"}, sources
print(f"{len(checks)} checks are as promised")
