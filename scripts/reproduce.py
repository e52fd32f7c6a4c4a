"""Builds the wheel twice, in two places, and compares: ``reproduce.py``.

What is committed is taken, not what lies in the working tree. Each build has a folder, a target
folder and a time zone of its own, and there a copy of the profile of ``PGO_PROFILE``, if there is
one. Takes as long as two builds from nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build(folder: Path, zone: str) -> Path:
    """Builds the wheel of the last commit below `folder`."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x", "-C", sources], input=archive.stdout, check=True)
    # Both take the toolchain and the tools of this environment.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("RUSTFLAGS", "CFLAGS")
    }
    environment |= {"TZ": zone, "CARGO_TARGET_DIR": str(folder / "target")}
    if profile := environment.get("PGO_PROFILE"):
        environment["PGO_PROFILE"] = shutil.copy(profile, str(folder / "profile"))
    subprocess.run(command, cwd=sources, env=environment, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def digest(content: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(content).hexdigest()


def profiled() -> str:
    """Which profile the wheels were built with."""
    profile = os.environ.get("PGO_PROFILE")
    if not profile:
        return ", without a profile"
    return f", with the profile of SHA-256 {digest(Path(profile).read_bytes())}"


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two wheels; nothing if they are."""
    if one.read_bytes() == other.read_bytes():
        return []
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        names = [first.namelist(), second.namelist()]
        if names[0] != names[1]:
            return [f"files: {sorted(set(names[0]) ^ set(names[1])) or 'their order'}"]
        found = [name for name in names[0] if first.read(name) != second.read(name)]
    return found or ["the archive itself: times, modes or compression"]


def main() -> int:
    """The command."""
    with tempfile.TemporaryDirectory(prefix="tquic-reproduce-") as place:
        one = build(Path(place) / "one", "UTC")
        other = build(Path(place) / "another-place", "Asia/Tokyo")
        found = differences(one, other)
        if found:
            print("the wheels differ: " + ", ".join(found), file=sys.stderr)
            return 1
        print(f"{one.name}: SHA-256 {digest(one.read_bytes())}, twice{profiled()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
