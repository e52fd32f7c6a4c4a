"""Builds with what a profile says is hot: a file of ``make profile`` that ``TQUIC_PROFILE`` names.

A profile that the compiler cannot read gives warnings and a package without one, so it is tried
before anything is built. Without the variable there is no profile.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "TQUIC_PROFILE"


@contextmanager
def used() -> Iterator[None]:
    """Compilers that are started meanwhile use the profile, if there is one."""
    name = os.environ.get(VARIABLE)
    if not name:
        yield
        return
    # Compilers run in other folders.
    flag = f"-Cprofile-use={Path(name).absolute()}"
    if reason := _refused(flag):
        raise SystemExit(f"error: {VARIABLE}={name}: {reason}")
    before = os.environ.get("RUSTFLAGS")
    os.environ["RUSTFLAGS"] = f"{before or ''} {flag}".strip()
    print(f"building with the profile {name}", flush=True)
    try:
        yield
    finally:
        if before is None:
            del os.environ["RUSTFLAGS"]
        else:
            os.environ["RUSTFLAGS"] = before


def _refused(flag: str) -> str:
    """What the compiler has to say about the profile; nothing if it reads it."""
    if len(flag.split()) > 1:
        return "RUSTFLAGS cannot name a file with a space"
    with tempfile.TemporaryDirectory(prefix="tquic-profile-") as folder:
        tried = subprocess.run(
            ["rustc", "--crate-name=tried", "--crate-type=lib", "-O", flag, "--emit=obj", "-"],
            cwd=folder,
            input="pub fn tried() {}",
            capture_output=True,
            text=True,
            check=False,
        )
    return tried.stderr.strip()
