"""Programs that are run to their end in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.support import ENVIRONMENT, PATIENCE

# `sys.argv` are the files of `certs`.
_BEGINNING = """
import asyncio, sys
import tquic

config = tquic.Config(cert=sys.argv[1], key=sys.argv[2], ca=sys.argv[3])
"""


def run(certs: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Runs a program, for which `tquic` is imported and `config` is of both ends."""
    files = [str(certs / name) for name in ("cert.pem", "key.pem", "ca.pem")]
    return subprocess.run(
        [sys.executable, "-c", _BEGINNING + text, *files],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=PATIENCE,
        check=False,
    )
