"""The blocking interface under gevent: greenlets wait, the thread does not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

# gevent replaces parts of the standard library for the whole process: it gets one of its own.
PROGRAM = """
from gevent import monkey
monkey.patch_all()

import sys

import gevent
import tquic
import tquic.sync

CLIENTS, SIZE = 20, 200_000
folder = sys.argv[1]
serving = tquic.Config(cert=folder + "/cert.pem", key=folder + "/key.pem")
trusting = tquic.Config(ca=folder + "/ca.pem")


def echo(connection):
    for stream in connection:
        gevent.spawn(answer, stream)


def answer(stream):
    for chunk in stream:
        stream.write(chunk)
    stream.finish()


def fetch(address, n):
    content = bytes([n]) * SIZE
    with tquic.sync.connect(*address, config=trusting, timeout=50) as connection:
        stream = connection.open_stream()
        stream.write(content)
        stream.finish()
        assert stream.read() == content
    return n


def wait_in_vain(connection):
    # Nobody ever answers: if this blocked the thread, nothing else would run.
    stream = connection.open_stream()
    try:
        stream.read()
    except tquic.ConnectionClosed:
        return "closed"


with tquic.sync.serve("127.0.0.1", 0, echo, config=serving) as server:
    idle = tquic.sync.connect(*server.address, config=trusting, timeout=50)
    with idle:
        waiting = gevent.spawn(wait_in_vain, idle)
        jobs = [gevent.spawn(fetch, server.address, n) for n in range(CLIENTS)]
        gevent.joinall(jobs, timeout=50, raise_error=True)
        assert [job.value for job in jobs] == list(range(CLIENTS))
        assert not waiting.ready()
    assert waiting.get(timeout=50) == "closed"
print("ok")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("gevent") is None, reason="gevent is not to be had for this Python"
)
def test_greenlets(identity: object, tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_bytes(getattr(identity, name))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
