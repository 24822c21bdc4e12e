"""A network connection that can be cut."""

import contextlib
import socket
import threading

from programs import LOOPBACK

_CHUNK_BYTES = 1 << 16


class Relay:
    """Hands on what arrives at a port to another one and back, but not while it is cut.

    Args:
        listen: `host:port` that it listens on.
        target: `host:port` that it connects to.
    """

    def __init__(self, listen: str, target: str) -> None:
        self._port = int(listen.rpartition(":")[2])
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()

    def mend(self) -> None:
        """Let connections through from now on."""
        listener = socket.create_server((LOOPBACK, self._port))
        with self._lock:
            self._listener = listener
        threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break all connections and take no new ones. Safe to call twice."""
        with self._lock:
            listener, self._listener = self._listener, None
            broken, self._open = self._open, set()
        if listener is not None:
            # A thread that waits in accept keeps the socket open until it is woken.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for each in broken:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._lock:
                refused = self._listener is not listener
                if not refused:
                    self._open |= {near, far}
            if refused:
                near.close()
                far.close()
                return
            pumps = [threading.Thread(target=_pump, args=ends, daemon=True) for ends in ((near, far), (far, near))]
            for pump in pumps:
                pump.start()
            threading.Thread(target=self._forget, args=(pumps, near, far), daemon=True).start()

    def _forget(self, pumps: list[threading.Thread], *ends: socket.socket) -> None:
        for pump in pumps:
            pump.join()
        with self._lock:
            self._open.difference_update(ends)
        for each in ends:
            each.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until one side ends, then end the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
