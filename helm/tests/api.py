"""Objects of a release in, an API server that lets a shim look after its own certificate out."""

import contextlib
import http.server
import json
import ssl
import tempfile
import threading

from certificates import openssl
from container import TOKEN
from rendered import NAMESPACE, WEBHOOKS, of_kind

HOST = "kubernetes.default.svc"


def path_of(document):
    name = document["metadata"]["name"]
    if document["kind"] == "Secret":
        return f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}"
    return f"/apis/admissionregistration.k8s.io/v1/{document['kind'].lower()}s/{name}"


def certificate(folder):
    """A pair for the API server, and who signed it."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    openssl("req", "-x509", *new, "-subj", "/CN=cluster", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt")
    extensions = [f"subjectAltName=DNS:{HOST}", "basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth"]
    added = [part for extension in extensions for part in ("-addext", extension)]
    openssl("req", "-x509", "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", *new, "-subj", "/CN=api", *added,
            "-keyout", f"{folder}/api.key", "-out", f"{folder}/api.crt")


@contextlib.contextmanager
def api(documents):
    """Serves the Secrets and webhook configurations at 443; who signed its certificate, and the objects by path."""
    objects = {path_of(each): json.loads(json.dumps(each)) for each in of_kind(documents, "Secret", *WEBHOOKS)}
    for number, document in enumerate(objects.values()):
        document["metadata"]["resourceVersion"] = str(number)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            length = int(self.headers.get("Content-Length", 0))
            sent = json.loads(self.rfile.read(length) or "{}")
            status, document = self.decided(sent)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_PATCH = answer

        def decided(self, sent):
            there = objects.get(self.path)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return 401, {"message": "Unauthorized"}
            if there is None:
                return 404, {"message": "not found"}
            if self.command == "GET":
                return 200, there
            version = there["metadata"]["resourceVersion"]
            if sent["metadata"]["resourceVersion"] != version:
                return 409, {"message": "the object has been modified"}
            if self.command == "PUT":
                there = objects[self.path] = sent
            else:
                for change in sent["webhooks"]:
                    [hook] = [hook for hook in there["webhooks"] if hook["name"] == change["name"]]
                    hook["clientConfig"] |= change["clientConfig"]
            there["metadata"]["resourceVersion"] = version + "1"
            return 200, there

        def log_message(self, *_):
            pass

    with tempfile.TemporaryDirectory() as folder:
        certificate(folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(f"{folder}/api.crt", f"{folder}/api.key")
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with open(f"{folder}/ca.crt", encoding="ascii") as authority:
                yield authority.read(), objects
        finally:
            server.shutdown()
            server.server_close()
