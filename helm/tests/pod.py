"""A container in, as the kubelet would run it but without an engine: its own root, read-only, and no privileges.

The file system is the image's (image/rootfs). Volumes are bound into it. The process has the user, no groups, no
capabilities and no way to gain any. Usage, within namespaces of mounts and network: pod.py SPECIFICATION, a JSON file
with `root`, `volumes` [[from, to, is_read_only]], `user`, `args`, `env`.
"""

import ctypes
import json
import os
import subprocess
import sys

PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
# More than there are capabilities; what is past the last is refused.
CAPABILITIES = 64


def bind(source, target, is_read_only):
    subprocess.run(["mount", "--bind", source, target], check=True)
    if is_read_only:
        subprocess.run(["mount", "-o", "remount,bind,ro", target], check=True)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    root = spec["root"]
    bind(root, root, False)
    for source, target, is_read_only in spec["volumes"]:
        bind(source, root + target, is_read_only)
    subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
    os.chroot(root)
    os.chdir("/")
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    for capability in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        sys.exit("the process can gain privileges")
    os.setresgid(spec["user"], spec["user"], spec["user"])
    os.setresuid(spec["user"], spec["user"], spec["user"])
    os.execve(spec["args"][0], spec["args"], spec["env"])


main()
