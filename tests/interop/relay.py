"""The link between client and server: the simulator's, played by `tquic-relay`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from .namespace import wait_for_port

START_SECONDS = 60.0


class Relay:
    """A running relay in front of a server."""

    def __init__(
        self,
        binary: Path,
        scenario: str,
        listen: tuple[str, int],
        to: tuple[str, int],
        report: Path,
    ) -> None:
        self._report = report
        self._port = listen[1]
        self._process = subprocess.Popen(
            [
                str(binary),
                "--listen",
                _address(listen),
                "--to",
                _address(to),
                "--link",
                scenario,
                "--seed",
                "1",
                "--summary",
                str(report),
            ],
            stdout=subprocess.DEVNULL,
            stderr=report.with_suffix(".log").open("wb"),
        )

    def ready(self) -> bool:
        """Waits until it listens."""
        return wait_for_port(self._port, self._process, START_SECONDS)

    def stop(self) -> dict[str, Any] | None:
        """Ends the relay; what it observed."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            summary: dict[str, Any] = json.loads(self._report.read_text())
        except (OSError, ValueError):
            return None
        return summary


def _address(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
