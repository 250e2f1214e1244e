"""Objects of a cluster in, an API server that has them out: as much of one as `helm template --dry-run=server` asks."""

import contextlib
import http.server
import json
import pathlib
import tempfile
import threading


@contextlib.contextmanager
def cluster(discovery, objects):
    """Serves `objects`, by path, and what `discovery`, a folder of Kubernetes' own, says that there can be.

    The path of a file for `kubectl` out."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = self.path.split("?")[0]
            file = discovery / (path.strip("/").replace("/", "__") + ".json")
            if path in objects:
                status, document = 200, objects[path]
            elif path == "/version":
                status, document = 200, {"major": "1", "minor": "36", "gitVersion": "v1.36.3"}
            elif file.is_file():
                status, document = 200, json.loads(file.read_text())
            else:
                status = 404
                document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "config"
        place = {"cluster": "here", "user": "somebody"}
        config.write_text(json.dumps({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "somebody", "user": {}}],
            "contexts": [{"name": "here", "context": place}],
        }))
        try:
            yield config
        finally:
            server.shutdown()
            server.server_close()
