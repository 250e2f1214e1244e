"""What a cluster's Service does: connections to one address go to one of several replicas."""

import contextlib
import itertools
import socket
import struct
import threading


class Balancer:
    """Listens on a port of loopback. A connection stays with its replica until one of both ends it."""

    def __init__(self, port):
        self.replicas = []
        self.turn = itertools.count()
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            replica = self._connect()
            if replica is None:
                # As by the kernel of a node where nobody listens: a reset.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                continue
            for one, other in ((client, replica), (replica, client)):
                threading.Thread(target=pump, args=(one, other), daemon=True).start()

    def _connect(self):
        """The next replica in turn, whether it is there or not: who is gone is sent to until the list says so."""
        replicas = list(self.replicas)
        if not replicas:
            return None
        try:
            return socket.create_connection(("127.0.0.1", replicas[next(self.turn) % len(replicas)]), timeout=5)
        except OSError:
            return None


def pump(source, sink):
    """What one side sends goes to the other, until it ends."""
    source.settimeout(None)
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    # The end is told; who has gone already need not hear of it.
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
