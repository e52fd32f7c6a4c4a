"""Builds with what a profile says is hot: a file of ``make profile`` that ``PGO_PROFILE`` names.

A profile that the compiler cannot read gives warnings and a package without one, and one of other
settings or another compiler not even those. So it is tried before anything is built, and what was
built is looked into. Without the variable there is no profile.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Not TQUIC_...: those are settings for the package, which knows all of them and refuses others.
VARIABLE = "PGO_PROFILE"

# Functions of this package in a library or a profile. What follows 17h differs when the compiler,
# the features or the settings of the build do; a profile is found by the whole name.
_FUNCTION = re.compile(rb"_ZN\d+tquic_[\w.$]+?17h[0-9a-f]{16}E")


class ProfileError(Exception):
    """The profile is of no use for what was built; the message says why."""


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


def check(engine: bytes) -> None:
    """Raises `ProfileError` if there is a profile and it says nothing of the engine's functions."""
    name = os.environ.get(VARIABLE)
    functions = set(_FUNCTION.findall(engine))
    # A library without names cannot be looked into.
    if not name or not functions:
        return
    known = functions & set(_FUNCTION.findall(Path(name).read_bytes()))
    print(f"the profile knows {len(known)} of {len(functions)} functions", flush=True)
    if 2 * len(known) < len(functions):
        raise ProfileError(
            f"{VARIABLE}={name} is of another build: it knows {len(known)} of {len(functions)} "
            "functions; `make profile` makes one"
        )
