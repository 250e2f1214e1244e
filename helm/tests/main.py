"""The chart and the image in, what they break of their promises out. `.ci/chart` runs it.

Tests are functions whose names begin with the number of their case in docs/threat-model.md, or with `test`. Usage:
main.py COMMAND SCHEMAS [PART], the built command and the folder that .ci/schemas.py wrote; with PART only the tests that
have it in their names.
"""

import re
import subprocess
import sys
import traceback

import asked
import certificates
import rights
import runs
import values


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    modules = (values, certificates, asked, rights, runs)
    found = {name: test for module in modules for name, test in vars(module).items()}
    tests = {name: test for name, test in found.items() if re.match(r"(test|t\d{3})_", name)}
    part = sys.argv[3] if len(sys.argv) > 3 else ""
    tests = {name: test for name, test in tests.items() if part in name}
    assert tests, f"no test has {part} in its name"
    failed = []
    for name, test in tests.items():
        try:
            test()
            print(f"ok {name}")
        except Exception:
            traceback.print_exc()
            print(f"FAILED {name}")
            failed.append(name)
    print(f"{len(tests) - len(failed)} of {len(tests)} hold")
    sys.exit(bool(failed))


main()
