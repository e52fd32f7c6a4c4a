"""A TCP connection through `tquic tunnel`, between two namespaces.

``python -m tquic.bench.tunnel PORT`` is the TCP server: it sends the pattern of the perf protocol
to whoever connects, for as long as that reads.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence

from tquic._engine import perf_mismatches, perf_pattern
from tquic.bench.network import SERVER, Network, NoNetworkError

# Of the TCP server, and of the tunnel's.
SOURCE, TUNNEL = 9000, 4434
PIECE = 64 * 1024


@contextlib.contextmanager
def _running(*command: str) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def _line(process: subprocess.Popen[str], begin: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(begin):
        raise NoNetworkError(f"a program of the tunnel does not start: {line!r}")
    return line.strip()


def rate(network: Network, links: Sequence[int], seconds: float) -> tuple[float, int]:
    """Mbit/s of a TCP connection through a tunnel over these links, slow start left out, and how
    many bytes were wrong."""
    python = (sys.executable, "-m")
    target = f"127.0.0.1:{SOURCE}"
    server = (*python, "tquic", "tunnel", "server", "--host", "0.0.0.0", "--port", str(TUNNEL))
    client = [*python, "tquic", "tunnel", "client", f"{SERVER}:{TUNNEL}", f"0:{target}"]
    for link in links:
        client += ["--path", network.interfaces[link]]
    with (
        _running(*network.server.command(*python, "tquic.bench.tunnel", str(SOURCE))) as source,
        _running(*network.server.command(*server, "--allow", target)) as far,
    ):
        _line(source, "listening")
        _line(far, "listening")
        with _running(*client, "--insecure") as near:
            port = int(_line(near, "forwarding").split()[1].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as connection:
                return _read(connection, seconds)


def _read(connection: socket.socket, seconds: float) -> tuple[float, int]:
    started = time.monotonic()
    begin, received, skipped, wrong = started + seconds * 0.2, 0, 0, 0
    while (now := time.monotonic()) < started + seconds:
        data = connection.recv(PIECE)
        wrong += perf_mismatches(data, received)
        received += len(data)
        if now < begin:
            skipped = received
    return (received - skipped) * 8 / 1e6 / (seconds * 0.8), wrong


def _serve(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_send, args=(connection,), daemon=True).start()


def _send(connection: socket.socket) -> None:
    pattern = perf_pattern() * (PIECE // len(perf_pattern()) + 1)
    with connection, contextlib.suppress(OSError):
        while True:
            connection.sendall(pattern)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
