"""The command as others run it: a subprocess, a server, and what it serves."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60
# What a shell set must not change what is tested.
# What changes how the commands behave.
_MEDDLING = {"SSLKEYLOGFILE", "QLOGDIR", "PYTHONUNBUFFERED", "NO_COLOR"}
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("TQUIC_") and name not in _MEDDLING
}


def command(*arguments: object) -> list[str]:
    """The command line, run by this Python."""
    return [sys.executable, "-m", "tquic", *map(str, arguments)]


def tquic(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=PATIENCE,
        check=False,
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on stdout."""
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


@dataclass
class Server:
    """A server under way."""

    process: subprocess.Popen[str]
    host: str
    port: int
    # Its second line, if it had to make a certificate.
    certificate: str

    @property
    def place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ca(self) -> Path:
        return Path(self.certificate.rpartition("--cacert ")[2].strip())

    def url(self, path: str) -> str:
        return f"https://{self.place}/{path}"

    def connections(self) -> int:
        """How many it has now."""
        return len(document(tquic("stats", self.process.pid, "--json"))["connections"])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def until(there: Callable[[], object]) -> None:
    """Waits for something that comes by itself."""
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def serving(*arguments: object) -> Iterator[Server]:
    """`tquic ARGUMENTS` on a free port, until the block ends."""
    process = subprocess.Popen(
        command(*arguments, "--port", 0),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        match = re.fullmatch(r"listening on \[?(?P<host>[^\]]+?)\]?:(?P<port>\d+)\n", line)
        if match is None:
            process.kill()
            raise AssertionError(f"{line!r} {process.communicate()[1]}")
        own = "" if "--cert" in arguments else process.stdout.readline()
        yield Server(process, match["host"], int(match["port"]), own)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE)


CONTENT = {
    "empty": b"",
    "small.txt": b"hello\n",
    "with space.txt": b"space\n",
    "sub/below.txt": b"below\n",
    "big.bin": bytes(range(256)) * 20_000,
}

Get = Callable[..., subprocess.CompletedProcess[str]]


def sha256(name: str) -> str:
    """Of one of `CONTENT`."""
    return hashlib.sha256(CONTENT[name]).hexdigest()


def names_in(folder: Path) -> list[str]:
    """What lies in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())
