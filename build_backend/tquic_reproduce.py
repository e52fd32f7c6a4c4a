"""Makes wheels the same wherever and whenever they are built.

Two things would differ: the paths of the build machine, which compilers write into messages and
debugging information, and the software bill of materials that maturin adds (PEP 770), with the same
paths, a random number and the time. `scripts/reproduce.py` compares two builds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SBOM = ".dist-info/sboms/"
# Where the sources lie, to whoever reads a bill of materials.
_HERE = "path+file:///tquic"


def flags(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment's variables for compilers, with the paths of this machine replaced."""
    home = environment.get("CARGO_HOME") or str(Path.home() / ".cargo")
    # The last that fits counts.
    names = {home: "/cargo", str(root): "/tquic"}
    if target := environment.get("CARGO_TARGET_DIR"):
        names[str(Path(target).absolute())] = "/tquic/target"
    rust = [f"--remap-path-prefix={path}={name}" for path, name in names.items()]
    changed = {"RUSTFLAGS": " ".join([environment.get("RUSTFLAGS", ""), *rust]).strip()}
    if sys.platform != "win32":
        c = [f"-ffile-prefix-map={path}={name}" for path, name in names.items()]
        changed["CFLAGS"] = " ".join([environment.get("CFLAGS", ""), *c]).strip()
    return changed


@contextmanager
def anywhere(root: Path) -> Iterator[None]:
    """Compilers that are started meanwhile do not tell where they ran."""
    changed = flags(root, os.environ)
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def settle_sbom(text: str, root: Path) -> str:
    """A bill of materials in CycloneDX without what differs from build to build."""
    bill: dict[str, Any] = json.loads(text.replace(f"path+file://{root}", _HERE))
    bill.get("metadata", {}).pop("timestamp", None)
    bill.pop("serialNumber", None)
    # A number that is its own: that of what it says.
    name = json.dumps(bill, sort_keys=True)
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}"
    return json.dumps(bill, indent=2, sort_keys=True) + "\n"


def settle_wheel(wheel: Path, root: Path) -> None:
    """Writes a wheel anew with bills of materials that are always the same."""
    with zipfile.ZipFile(wheel) as archive:
        files = [(entry, archive.read(entry)) for entry in archive.infolist()]
    settled = {
        entry.filename: settle_sbom(content.decode(), root).encode()
        for entry, content in files
        if _SBOM in entry.filename and entry.filename.endswith(".json")
    }
    fresh = wheel.with_suffix(".settled")
    with zipfile.ZipFile(fresh, "w") as archive:
        for entry, old in files:
            content = settled.get(entry.filename, old)
            if entry.filename.endswith(".dist-info/RECORD"):
                content = _record(old.decode(), settled).encode()
            archive.writestr(entry, content, entry.compress_type)
    fresh.replace(wheel)


def _record(record: str, settled: Mapping[str, bytes]) -> str:
    lines = []
    for line in record.splitlines():
        name = line.rsplit(",", 2)[0]
        if (content := settled.get(name)) is not None:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            line = f"{name},sha256={digest.decode()},{len(content)}"
        lines.append(line)
    return "\n".join(lines) + "\n"
