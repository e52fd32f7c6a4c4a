"""Compiles ``libtquic-preload.so``, which gives C programs QUIC sockets, into the package.

It is a library for other programs and no module of Python: maturin, which builds one library for a
package, does not know of it. Linux only.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

LIBRARY = "libtquic-preload.so"


def build(root: Path) -> Path | None:
    """Compiles it in the profile of releases; the file written, or nothing elsewhere."""
    if sys.platform != "linux":
        return None
    command = ["cargo", "build", "--release", "--locked", "--package", "tquic-preload"]
    done = subprocess.run(
        [*command, "--message-format", "json-render-diagnostics"],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    target = root / "python" / "tquic" / LIBRARY
    # Unlinked first: a running program may have the old one mapped.
    target.unlink(missing_ok=True)
    shutil.copy2(_artifact(done.stdout), target)
    return target


def _artifact(messages: str) -> str:
    for line in messages.splitlines():
        message = json.loads(line)
        if (
            message["reason"] == "compiler-artifact"
            and message["target"]["name"] == "tquic_preload"
        ):
            (made,) = message["filenames"]
            return str(made)
    raise SystemExit("error: cargo built no tquic-preload")
