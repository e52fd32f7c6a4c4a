"""Builds the peers into a cache of their own, away from the repository's environment.

The cache is `$TQUIC_INTEROP_CACHE`, else `~/.cache/tquic-interop`. Whatever cannot be built is
reported with the reason, and its cells are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from .roster import SUBJECT

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
AIOQUIC = "aioquic==1.7.2"
CURL = "curl_cffi==0.16.3"
# Set by `make interop`: what takes many minutes to build is left out otherwise, unless it is there.
BUILD_ALL = "TQUIC_INTEROP_BUILD"
BUILD_SECONDS = 900.0


@dataclass(frozen=True)
class Program:
    """How to start a peer, or why it cannot be started."""

    name: str
    client: tuple[str, ...] = ()
    server: tuple[str, ...] = ()
    missing: str = ""

    def command(self, role: str) -> tuple[str, ...]:
        """The command line of a role."""
        return self.client if role == "client" else self.server


@dataclass(frozen=True)
class Kit:
    """Everything built: it is made where there is a network, and used where there is none."""

    programs: dict[str, Program]
    relay: str = ""
    relay_missing: str = ""

    def to_json(self) -> str:
        """For the environment of the process inside the namespace."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Kit:
        """What `to_json` wrote."""
        kit = json.loads(text)
        programs = {
            name: Program(name, tuple(p["client"]), tuple(p["server"]), p["missing"])
            for name, p in kit["programs"].items()
        }
        return cls(programs, kit["relay"], kit["relay_missing"])


class _CannotBuildError(Exception):
    pass


def cache() -> Path:
    """Where built peers live."""
    base = os.environ.get("TQUIC_INTEROP_CACHE")
    folder = Path(base) if base else Path.home() / ".cache" / "tquic-interop"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(names: list[str]) -> Kit:
    """Builds these peers and the relay."""
    relay, missing = _relay()
    return Kit({name: prepare(name) for name in names}, str(relay or ""), missing)


def prepare(name: str) -> Program:
    """A peer ready to start; builds what is not built yet."""
    builders = {
        SUBJECT: _tquic,
        "quicgo": _quicgo,
        "quinn": _quinn,
        "aioquic": _aioquic,
        "ngtcp2": _ngtcp2,
        "quiche": _quiche,
        "curl": _curl,
    }
    try:
        return builders[name]()
    except _CannotBuildError as error:
        return Program(name, missing=str(error))


def _relay() -> tuple[Path | None, str]:
    """The relay, from TQUIC_RELAY or built from this repository; or why there is none."""
    if named := os.environ.get("TQUIC_RELAY"):
        return Path(named), ""
    target = cache() / "relay-target"
    command = ["cargo", "build", "--release", "--package", "tquic-sim", "--bin", "tquic-relay"]
    try:
        _need("cargo", "Rust")
        _run([*command, "--target-dir", str(target)], REPOSITORY, "cargo build of tquic-relay")
    except _CannotBuildError as error:
        return None, str(error)
    return target / "release" / "tquic-relay", ""


def _tquic() -> Program:
    command = (sys.executable, "-m", "tquic.interop")
    probe = (
        "import importlib.util, sys; sys.exit(importlib.util.find_spec('tquic.interop') is None)"
    )
    tried = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        raise _CannotBuildError("no module tquic.interop in this Python: install the package first")
    return Program(SUBJECT, command, command)


def _quicgo() -> Program:
    _need("go", "Go")
    binary = cache() / "quicgo"
    _run(["go", "build", "-o", str(binary), "."], HERE / "peers" / "quicgo", "go build")
    return Program("quicgo", (str(binary),), (str(binary),))


def _quinn() -> Program:
    return _crate("quinn")


def _quiche() -> Program:
    if not (os.environ.get(BUILD_ALL) or (cache() / "quiche-target").exists()):
        raise _CannotBuildError(f"quiche is not built: `make interop` or {BUILD_ALL}=1 builds it")
    # For BoringSSL.
    _need("cmake", "CMake")
    return _crate("quiche")


def _crate(name: str) -> Program:
    _need("cargo", "Rust")
    target = cache() / f"{name}-target"
    _run(
        ["cargo", "build", "--release", "--locked", "--target-dir", str(target)],
        HERE / "peers" / name,
        "cargo build",
    )
    binary = str(target / "release" / f"tquic-interop-{name}")
    return Program(name, (binary,), (binary,))


def _ngtcp2() -> Program:
    # Debian's packages ngtcp2-client and ngtcp2-server; servers lie where users do not look.
    for program in ("gtlsclient", "gtlsserver"):
        if not (shutil.which(program) or Path("/usr/sbin", program).exists()):
            raise _CannotBuildError(f"no {program}: install ngtcp2-client and ngtcp2-server")
    command = (sys.executable, str(HERE / "peers" / "ngtcp2" / "peer.py"))
    return Program("ngtcp2", command, command)


def _aioquic() -> Program:
    python = _python("aioquic", AIOQUIC)
    scripts = HERE / "peers" / "aioquic"
    client, server = ((python, str(scripts / f"{role}.py")) for role in ("client", "server"))
    return Program("aioquic", client, server)


def _curl() -> Program:
    return Program("curl", (_python("curl", CURL), str(HERE / "peers" / "curl" / "client.py")))


def _python(name: str, wanted: str) -> str:
    """An interpreter in an environment that has one package."""
    folder = cache() / f"{name}-venv"
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], HERE, "venv")
        _run([str(python), "-m", "pip", "install", "--quiet", wanted], HERE, "pip install")
        stamp.write_text(wanted)
    return str(python)


def _need(tool: str, language: str) -> None:
    if shutil.which(tool) is None:
        raise _CannotBuildError(f"{language} is not installed")


def _run(command: list[str], folder: Path, what: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _CannotBuildError(f"{what} took longer than {BUILD_SECONDS:.0f} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise _CannotBuildError(f"{what} failed: {lines[-1] if lines else done.returncode}")
