"""Builds the drivers; one that cannot be built does not take the others along."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from compare.peers import BUILT, GO, HERE, ROOT, TQUIC, Peer

# Seconds: boringssl and quictls are large, and the machine may be small.
LIMIT = 3600
# What plays a link between the two ends.
RELAY = ROOT / "target" / "release" / "tquic-relay"
# Lines of a failed build that are reported.
LINES = 12


class BuildError(Exception):
    """A part that could not be built, with what its build said."""


def build(peers: Iterable[Peer], *parts: str) -> dict[str, str]:
    """Builds these parts and what the peers need; the reasons of those that failed."""
    failures: dict[str, str] = {}
    for part in dict.fromkeys([*parts, *(part for peer in peers for part in peer.builds)]):
        print(f"building {part} ...", flush=True)
        try:
            _build(part)
        except BuildError as error:
            print(f"  failed: {error}", flush=True)
            failures[part] = str(error)
    return failures


def _build(part: str) -> None:
    if part == "tquic":
        if not TQUIC.exists():
            raise BuildError("no tquic in .venv: `make compare` installs it")
    elif part == "relay":
        _run(["cargo", "build", "--release", "--locked", "-p", "tquic-sim", "--bin", "tquic-relay"])
    elif part == "go":
        GO.parent.mkdir(parents=True, exist_ok=True)
        _run(["go", "build", "-o", str(GO), "."], HERE / "go")
    elif version := part.removeprefix("python") if part.startswith("python") else "":
        _python(version)
    else:
        target = {"CARGO_TARGET_DIR": str(BUILT / "rust")}
        # Not --locked: the lock file names our own crates, too, and follows their dependencies.
        # What it says of the peers stays.
        command = ["cargo", "build", "--release", "-p", f"compare-{part}"]
        _run(command, HERE / "rust", target)


def _python(version: str) -> None:
    """An environment of this interpreter with what the drivers need; made once for each list."""
    home = BUILT / f"python{version}"
    wanted = HERE / "python" / f"requirements-{version}.txt"
    stamp = home / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return
    interpreter = _interpreter(version)
    _run([interpreter, "-m", "venv", "--clear", str(home)])
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _run([*pip, "--requirement", str(wanted)])
    stamp.write_text(wanted.read_text())


def _interpreter(version: str) -> str:
    """A Python of this version: our own, on the path, or one of pyenv's."""
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return sys.executable
    homes = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in (*map(str, homes), shutil.which(f"python{version}")):
        if candidate and _runs(candidate):
            return candidate
    raise BuildError(f"no Python {version} here")


def _runs(program: str) -> bool:
    """pyenv's shims are on the path for versions that are not chosen."""
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


def _run(command: list[str], where: Path = ROOT, more: dict[str, str] | None = None) -> None:
    try:
        result = subprocess.run(
            command,
            cwd=where,
            env={**os.environ, **(more or {})},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(str(error)) from None
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise BuildError("\n".join(said[-LINES:]))


def versions(peer: Peer) -> dict[str, str]:
    """The versions of what the peer stands for, as they are locked."""
    known = _locked_crates() | _go_versions() | _python_versions() | {"tquic": _tquic()}
    return {name: known[name] for name in peer.versions if name in known}


def _locked_crates() -> dict[str, str]:
    text = (HERE / "rust" / "Cargo.lock").read_text()
    return dict(re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', text))


def _go_versions() -> dict[str, str]:
    modules = re.findall(
        r"^(?:require )?\s*(\S+) (v\S+)", (HERE / "go" / "go.mod").read_text(), re.M
    )
    try:
        said = subprocess.run(
            ["go", "env", "GOVERSION"], capture_output=True, text=True, check=True
        )
        return {**dict(modules), "go": said.stdout.strip()}
    except (OSError, subprocess.CalledProcessError):
        return dict(modules)


def _python_versions() -> dict[str, str]:
    files = (HERE / "python").glob("requirements-*.txt")
    return dict(
        pin for file in files for pin in re.findall(r"^(\S+)==(\S+)", file.read_text(), re.M)
    )


def _tquic() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    profiled = " with a profile" if os.environ.get("PGO_PROFILE") else ""
    return said.stdout.strip() + profiled
