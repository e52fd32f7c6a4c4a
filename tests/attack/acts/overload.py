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


@row("overload", full=20, fast=2)
def overload(field: Field, size: int) -> str:
    """Twice as many requests a second as it can answer, for `size` seconds."""
    capacity = load(field, TASTE)["rate_per_second"]
    field.prepared()
    found = load(field, size, "--rate", str(int(2 * capacity)))
    field.note("failed", found["failed"])
    field.note("answered_share", found["rate_per_second"] / capacity)
    field.note("recovered_share", load(field, TASTE)["rate_per_second"] / capacity)
    return f"{2 * capacity:.0f} requests a second, twice what was answered before, for {size} s"
