"""What the end-to-end run is put together from: programs that end with it, certificates, free ports."""

import os
import pathlib
import signal
import socket
import subprocess
import time


class Failed(Exception):
    """Something is not as it must be; the text says what."""


class Program:
    """A program that was started here. It is ended by its own process id, and what it says kept in files."""

    def __init__(self, name, command, folder, env=None):
        self.name = name
        self.out, self.log = (pathlib.Path(folder, f"{name}.{end}") for end in ("out", "log"))
        with open(self.out, "ab") as out, open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **(env or {})},
            )

    def alive(self):
        return self.process.poll() is None

    def stop(self, grace=20):
        """SIGTERM, and SIGKILL if it does not end; returns its exit code."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

    def tail(self, lines=25):
        text = self.log.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def until(what, check, seconds, programs=()):
    """Asks `check` until it gives something true, at most so long, and as long as the programs run."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        for program in programs:
            if not program.alive():
                raise Failed(f"{program.name} ended with {program.process.returncode}:\n{program.tail()}")
        try:
            found = check()
        except (OSError, Failed) as error:
            last, found = error, None
        if found:
            return found
        time.sleep(0.1)
    logs = "\n".join(f"--- {program.name}\n{program.tail()}" for program in programs)
    raise Failed(f"after {seconds} s there is still not: {what} (last: {last})\n{logs}")


# Below those that the system gives to whoever connects: a port may be used long after it was chosen.
PORTS = range(12_000, 20_000)
HELD = []


def free_ports(count):
    """So many ports of loopback that nobody listens on. Who has one holds it for UDP as long as the program runs."""
    found = []
    first = os.getpid() * 97 % len(PORTS)
    for port in (*PORTS[first:], *PORTS[:first]):
        hold = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            hold.bind(("127.0.0.1", port))
            with socket.socket() as one:
                one.bind(("127.0.0.1", port))
        except OSError:
            hold.close()
            continue
        HELD.append(hold)
        found.append(port)
        if len(found) == count:
            return found
    raise Failed(f"no {count} ports of {PORTS} are free")


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Failed(f"openssl {' '.join(map(str, arguments))}: {done.stderr}")


class Authority:
    """A certificate authority of this run."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cert = self.folder / f"{name}-ca.pem"
        self.key = self.folder / f"{name}-ca.key"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name} authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", self.key, "-out", self.cert,
        )

    def issue(self, name, subject, usage, names=(), into=None):
        """A certificate and its key, as `<name>.crt` and `<name>.key`."""
        folder = pathlib.Path(into or self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        key, request, cert = (folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
        openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", subject, "-keyout", key, "-out", request,
        )
        extensions = folder / f"{name}.ext"
        lines = ["basicConstraints=critical,CA:FALSE", f"extendedKeyUsage={usage}"]
        if names:
            lines.append("subjectAltName=" + ",".join(names))
        extensions.write_text("\n".join(lines) + "\n")
        openssl(
            "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
            "-days", "2", "-extfile", extensions, "-out", cert,
        )
        for leftover in (request, extensions):
            leftover.unlink()
        return cert, key
