"""A server in a process of its own, which tells its state for each line it is sent."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tquic._engine import make_certificates


class ServerProcess:
    """That process, as seen from here. What it tells is a JSON object a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self.ports = self._read()
        """What it told when it was ready."""

    def _read(self) -> dict[str, int]:
        assert self._process.stdout is not None
        state: dict[str, int] = json.loads(self._process.stdout.readline())
        return state

    def ask(self) -> dict[str, int]:
        """Its state."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()


@contextlib.contextmanager
def serving(script: str) -> Iterator[tuple[ServerProcess, bytes]]:
    """``script --serve FOLDER``, with cert.pem and key.pem in the folder; and their CA in PEM. The
    end of its standard input tells the process to end."""
    ca, cert, key = make_certificates(["localhost", "127.0.0.1"], 30)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cert.pem").write_text(cert)
        (Path(folder) / "key.pem").write_text(key)
        command = [sys.executable, script, "--serve", folder]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield ServerProcess(process), ca.encode()
