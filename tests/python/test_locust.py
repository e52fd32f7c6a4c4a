"""Locust's users: the example of the guide, with a master and two workers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic.load import Responder

# Looked for, not imported: gevent replaces parts of the standard library for the whole process.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("locust") is None, reason="locust is not installed"
)

GUIDE = Path(__file__).parents[2] / "docs" / "load.md"
TIMEOUT = 60


def example() -> str:
    """The user of the guide."""
    blocks = re.findall(r"^```python fragment\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
    (found,) = (block for block in blocks if "Http3User" in block)
    return found


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def locust(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "TQUIC_LIVE": "0"}
    return subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", "reader.py", *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("body", "failing"), [(b"hello", set()), (b"bye", {"/search"})])
def test_master_and_workers(
    identity: Any,
    server_config: tquic.Config,
    tmp_path: Path,
    body: bytes,
    failing: set[str],
) -> None:
    (tmp_path / "ca.pem").write_bytes(identity.ca)
    (tmp_path / "reader.py").write_text(example())
    port = free_port()
    with Responder(server_config, body) as server:
        url = f"https://localhost:{server.address[1]}"
        workers = [locust(tmp_path, "--worker", "--master-port", port) for _ in range(2)]
        master = locust(
            tmp_path,
            *("--master", "--headless", "--json", "--expect-workers", 2, "--host", url),
            *("--users", 6, "--spawn-rate", 6, "--run-time", "3s"),
            *("--master-bind-port", port),
        )
        try:
            out, log = master.communicate(timeout=TIMEOUT)
            for worker in workers:
                worker.communicate(timeout=TIMEOUT)
        finally:
            for process in (master, *workers):
                process.kill()
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert set(entries) == {"/page", "/search"}, log
    assert all(entry["num_requests"] for entry in entries.values()), log
    failed = {name for name, entry in entries.items() if entry["num_failures"]}
    assert failed == failing, log
    assert master.returncode == (1 if failing else 0)


@pytest.mark.parametrize("host", ["http://localhost:4433", "localhost:4433"])
def test_a_host_that_cannot_be_loaded(tmp_path: Path, host: str) -> None:
    (tmp_path / "reader.py").write_text(example())
    (tmp_path / "ca.pem").write_text("")
    arguments = ("--headless", "--host", host, "--users", 1, "--run-time", "1s")
    process = locust(tmp_path, *arguments)
    try:
        _, log = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode != 0
    assert f"LocustError: --host: '{host}' is no https URL with a host" in log
