"""Pods that are created, dry, all the time while something else happens, and what became of each."""

import http.client
import json
import socket
import ssl
import threading
import time

from gate import HOST
from parts import Failed
from pods import pod

THREADS = 4
# Between two requests of a thread.
PAUSE = 0.02
# No load goes on for longer.
LONGEST = 120


class Load:
    """Asks for two pods in turn, one that may run and one that may not: `with Load(…) as load:`."""

    def __init__(self, cluster, good, bad):
        pki = cluster.folder / "pki"
        self.tls = ssl.create_default_context(cafile=pki / "cluster-ca.pem")
        self.tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self.port = cluster.port
        self.pods = [(json.dumps(good), 201), (json.dumps(bad), 403)]
        self.namespace = good["metadata"]["namespace"]
        self.end = threading.Event()
        self.right, self.wrong = 0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join()

    def more(self, count=60):
        """Waits until so many more were answered."""
        goal, end = self.done() + count, time.monotonic() + LONGEST
        while self.done() < goal:
            if time.monotonic() > end:
                raise Failed(f"the load makes no progress: {self.done()} of {goal}, {self.wrong[-3:]}")
            time.sleep(0.02)

    def done(self):
        with self.lock:
            return self.right + len(self.wrong)

    def must_be_right(self):
        """Every answer was what it must be; returns how many there were."""
        if self.wrong or not self.right:
            raise Failed(f"{len(self.wrong)} of {self.done()} answers are wrong, the first: {self.wrong[:3]}")
        return self.right

    def _run(self):
        connection, stop, turn = None, time.monotonic() + LONGEST, 0
        path = f"/api/v1/namespaces/{self.namespace}/pods?dryRun=All"
        while not self.end.is_set() and time.monotonic() < stop:
            body, expected = self.pods[turn % 2]
            turn += 1
            try:
                connection = connection or http.client.HTTPSConnection(
                    "127.0.0.1", self.port, context=self.tls, timeout=30)
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read().decode()
                found = answer.status
            except OSError as error:
                connection, text, found = None, str(error), None
            with self.lock:
                if found == expected:
                    self.right += 1
                else:
                    self.wrong.append((found, text[:400]))
            time.sleep(PAUSE)


class Callers:
    """API servers that have just begun: each review on a connection of its own. `with Callers(…) as callers:`."""

    def __init__(self, t):
        pki = t.cluster.folder / "pki"
        self.tls = ssl.create_default_context(cafile=t.gate.authority.cert)
        self.tls.load_cert_chain(pki / "webhook-client.crt", pki / "webhook-client.key")
        self.port = t.gate.port
        self.reviews = [(review(t.gate.image(name)), allowed) for name, allowed in (("clean", True), ("critical", False))]
        self.end = threading.Event()
        self.right, self.wrong = 0, []
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()

    def must_be_right(self):
        """Every answer was what it must be; returns how many there were."""
        if self.wrong or not self.right:
            raise Failed(f"{len(self.wrong)} of {self.right + len(self.wrong)} answers are wrong: {self.wrong[:3]}")
        return self.right

    def _run(self):
        stop, turn = time.monotonic() + LONGEST, 0
        while not self.end.is_set() and time.monotonic() < stop:
            body, expected = self.reviews[turn % 2]
            turn += 1
            try:
                found = self._ask(body)
            except (OSError, http.client.HTTPException) as error:
                found = str(error)
            if found is expected:
                self.right += 1
            else:
                self.wrong.append(found)
            time.sleep(PAUSE)

    def _ask(self, body):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain:
            with self.tls.wrap_socket(plain, server_hostname=HOST) as stream:
                connection = http.client.HTTPConnection(HOST)
                connection.sock = stream
                connection.request("POST", "/validate", body, {"Content-Type": "application/json"})
                answer = json.loads(connection.getresponse().read())
                return answer["response"]["allowed"]


def review(image):
    """What an API server asks about a pod."""
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "one-of-many", "operation": "CREATE", "namespace": "shop", "name": "loaded", "dryRun": True,
        "kind": kind, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": {"apiVersion": "v1", **pod("loaded", "shop", image)}}})
