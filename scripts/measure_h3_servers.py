"""Measures how many small requests a second HTTP/3 servers answer, ours and other people's.

Each server runs alone as a process; the client is the engine's own load generator with prepared
requests over one connection. Runs alternate between servers, so that a busy machine is busy for all
of them. ::

    python scripts/measure_h3_servers.py --write docs/http3-server.md --other "hypercorn=hypercorn
        --quic-bind 127.0.0.1:{port} --certfile {cert} --keyfile {key} app:app"
        --files "quic-go=env ROLE=server TESTCASE=http3 HOST=127.0.0.1 PORT={port} WWW=. CERTS=. PEER"

Commands run in a folder with ``app.py``, ``1k.txt``, ``cert.pem`` and its key, ``key.pem`` and
``priv.key``. PEER may be one of `tests/interop/peers`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import tquic
from page import write_table
from tquic._engine import make_certificates
from tquic.h3 import prepare_request

_MARK = "<!-- measured: h3 servers -->"

# A file of 1 KiB for those that serve files, and the same two answers by an application.
_APP = """
body = open("1k.txt", "rb").read()

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await receive()
    content = body if scope["path"] == "/1k.txt" else b"Hello, world!"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
"""


def _cpu_seconds(pid: int) -> float:
    """Of a process and its children."""
    total = 0.0
    tick = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, behind = stat.read_text().rpartition(")")
        except OSError:
            continue
        fields = behind.split()
        if int(before.split()[0]) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / tick
    return total


def _load(port: int, ca: bytes, path: str, in_flight: int, seconds: float) -> tuple[float, int]:
    """Answers per second, and answers in all."""
    request = prepare_request(
        [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"localhost:%d" % port),
            (b":path", path.encode()),
            (b"user-agent", b"measure/1"),
            (b"accept", b"*/*"),
        ]
    )
    config = tquic.Config(alpn=("h3",), ca=ca, server_name="localhost")
    engine = tquic.Engine()
    with engine.connect_many("127.0.0.1", port, 1, config=config) as connections:
        connections.wait_connected(20)
        warm = connections.request_many(request.data, count=50, in_flight=8)
        warm.wait(30)
        run = connections.request_many(request.data, duration=seconds, in_flight=in_flight)
        run.wait(seconds + 30)
        stats = run.stats()
    engine._native.shutdown()
    if stats.failed:
        raise SystemExit(f"{stats.failed} of {stats.requests} requests failed")
    return stats.rate, stats.responses + 50


def _measure(
    command: str, folder: Path, ca: bytes, case: tuple[str, int], seconds: float
) -> tuple[float, float]:
    """Answers per second, and microseconds of CPU for each."""
    path, in_flight = case
    port = 20_000 + os.getpid() % 20_000
    filled = command.format(port=port, cert=folder / "cert.pem", key=folder / "key.pem")
    with subprocess.Popen(
        shlex.split(filled), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            time.sleep(3)
            before = _cpu_seconds(process.pid)
            rate, answers = _load(port, ca, path, in_flight, seconds)
            return rate, (_cpu_seconds(process.pid) - before) / answers * 1e6
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def main() -> None:
    """Measures, prints and perhaps writes a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--files", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    ours = (
        f"{sys.executable} -m tquic serve {{what}} --port {{port}} --cert {{cert}} --key {{key}} "
        "--streams 1000"
    )
    servers = {
        "tquic, file of 1 KiB": (ours.replace("{what}", "."), "/1k.txt"),
        "tquic, ASGI, 1 KiB": (ours.replace("{what}", "app:app"), "/1k.txt"),
        "tquic, ASGI, hello world": (ours.replace("{what}", "app:app"), "/hello"),
    }
    for other in options.other:
        name, _, command = other.partition("=")
        for path, what in (("/1k.txt", "1 KiB"), ("/hello", "hello world")):
            servers[f"{name}, ASGI, {what}"] = (command, path)
    for other in options.files:
        name, _, command = other.partition("=")
        servers[f"{name}, file of 1 KiB"] = (command, "/1k.txt")
    found: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "app.py").write_text(_APP)
        (folder / "1k.txt").write_bytes(b"x" * 1024)
        ca, cert, key = make_certificates(["localhost", "127.0.0.1"], 2)
        (folder / "cert.pem").write_text(cert)
        for name in ("key.pem", "priv.key"):
            (folder / name).write_text(key)
        for _ in range(options.runs):
            for name, (command, path) in servers.items():
                for in_flight in (16, 256):
                    case = (path, in_flight)
                    result = _measure(command, folder, ca.encode(), case, options.seconds)
                    found[name, in_flight].append(result)
                    print(f"{name}, {in_flight}: {result[0]:.0f}/s, {result[1]:.0f} us", flush=True)
    lines = [
        "| Server | 16 in flight | 256 in flight | CPU for each |",
        "|---|---|---|---|",
    ]
    for name in servers:
        rates = [statistics.median(rate for rate, _ in found[name, n]) for n in (16, 256)]
        cpu = statistics.median(cpu for n in (16, 256) for _, cpu in found[name, n])
        lines.append(f"| {name} | {rates[0]:,.0f}/s | {rates[1]:,.0f}/s | {cpu:,.0f} us |")
    table = "\n".join(lines)
    print(table)
    if options.write:
        write_table(options.write, _MARK, table + "\n")


if __name__ == "__main__":
    main()
