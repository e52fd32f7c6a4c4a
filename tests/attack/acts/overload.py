"""More honest work than the server can do."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

from ..field import Field
from ..row import row

# Connections of a generator, and seconds that the capacity is measured for.
CONNECTIONS: Final = 50
TASTE: Final = 2


def load(field: Field, seconds: int, *options: str) -> dict[str, Any]:
    """Requests for a page, in a process of their own."""
    host, port = field.server.address
    ca = field.server.site.parent / "ca.pem"
    command = [
        sys.executable, "-m", "tquic", "load", f"https://localhost:{port}/honest.bin",
        "--connect-to", f"{host}:{port}", "--cacert", str(ca), "-c", str(CONNECTIONS),
        "-d", f"{seconds}s", "--json", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def answers(found: dict[str, Any], status: int) -> int:
    """How often there was this status."""
    statuses: dict[str, int] = found["statuses"]
    return statuses.get(str(status), 0)


def served(found: dict[str, Any]) -> float:
    """Pages a second."""
    return answers(found, 200) / float(found["seconds"])


@row("overload", full=20, fast=2)
def overload(field: Field, size: int) -> str:
    """Twice as many requests a second as it can answer, for `size` seconds."""
    capacity = served(load(field, TASTE))
    field.prepared()
    found = load(field, size, "--rate", str(int(2 * capacity)))
    refused = answers(found, 503)
    # Neither served nor refused.
    field.note("failed", found["requests"] - answers(found, 200) - refused)
    field.note("answered_share", served(found) / capacity)
    field.note("refused_share", refused / found["requests"])
    field.note("slowest", found["service_us"]["p99"] / 1e6)
    field.note("recovered_share", served(load(field, TASTE)) / capacity)
    return f"{2 * capacity:.0f} requests a second, twice what was answered before, for {size} s"
