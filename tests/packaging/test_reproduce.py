"""Wheels are the same wherever they are built: what differs is taken out of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

reproduce = pytest.importorskip("reproduce")
tquic_reproduce = pytest.importorskip("tquic_reproduce")

NAME = "tquic-0.1.0.dist-info/sboms/tquic-py.cyclonedx.json"


def bill(root: str, number: int) -> str:
    """As maturin writes it."""
    where = f"path+file://{root}/rust/py#tquic-py@0.1.0"
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{number:032x}",
            "metadata": {"timestamp": f"2026-01-0{number}", "component": {"bom-ref": where}},
            "components": [{"bom-ref": "registry+https://example.org#ring@0.17.14"}],
            "dependencies": [{"ref": where, "dependsOn": [where + " bin-target-0"]}],
        }
    )


def wheel(folder: Path, root: str, number: int) -> Path:
    """A wheel with a bill and what else it has."""
    folder.mkdir()
    content = bill(root, number).encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    record = f"tquic/__init__.py,sha256=x,3\n{NAME},sha256={digest},{len(content)}\n,,\n"
    path = folder / "tquic-0.1.0-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (
            ("tquic/__init__.py", b"1+1"),
            (NAME, content),
            ("tquic-0.1.0.dist-info/RECORD", record.encode()),
        ):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return path


def test_two_builds_become_the_same(tmp_path: Path) -> None:
    roots = ["/home/one/tquic", "/builds/2/x"]
    wheels = [wheel(tmp_path / str(n), root, n) for n, root in enumerate(roots, 1)]
    assert reproduce.differences(*wheels) == [NAME, "tquic-0.1.0.dist-info/RECORD"]
    for path, root in zip(wheels, roots, strict=True):
        tquic_reproduce.settle_wheel(path, Path(root))
    assert reproduce.differences(*wheels) == []
    with zipfile.ZipFile(wheels[0]) as archive:
        content = archive.read(NAME)
        record = archive.read("tquic-0.1.0.dist-info/RECORD").decode()
        assert archive.getinfo(NAME).external_attr == 0o644 << 16
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    assert f"{NAME},sha256={digest},{len(content)}\n" in record
    settled = json.loads(content)
    assert b"/home/one" not in content
    assert settled["serialNumber"].startswith("urn:uuid:")
    assert "timestamp" not in settled["metadata"]
    assert settled["components"] == [{"bom-ref": "registry+https://example.org#ring@0.17.14"}]


def test_differences_are_named(tmp_path: Path) -> None:
    one, other = (wheel(tmp_path / str(n), "/x", 1) for n in range(2))
    assert reproduce.differences(one, other) == []
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("more", b"")
    assert reproduce.differences(one, other) == ["files: ['more']"]


@pytest.mark.skipif(sys.platform == "win32", reason="flags of other compilers")
def test_compilers_do_not_tell_where_they_run(tmp_path: Path) -> None:
    """Debugging information and the names in messages."""
    objects = []
    for name in ("one", "another"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "x.c").write_text("const char *where(void) { return __FILE__; }\n")
        made = tquic_reproduce.flags(folder, {"CFLAGS": "-O1", "CARGO_HOME": "/none"})
        command = ["cc", *made["CFLAGS"].split(), "-g", "-c", str(folder / "x.c"), "-o", "x.o"]
        subprocess.run(command, cwd=folder, check=True)
        objects.append((folder / "x.o").read_bytes())
    assert objects[0] == objects[1]
    assert b"/tquic/x.c" in objects[0]


def test_the_environment_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSTFLAGS", "-C opt-level=1")
    monkeypatch.delenv("CFLAGS", raising=False)
    monkeypatch.setenv("CARGO_TARGET_DIR", "/elsewhere")
    with tquic_reproduce.anywhere(tmp_path):
        rust = os.environ["RUSTFLAGS"]
    assert rust.startswith("-C opt-level=1 --remap-path-prefix=")
    assert f"={tmp_path}=/tquic " in rust
    assert rust.endswith("=/elsewhere=/tquic/target")
    assert os.environ["RUSTFLAGS"] == "-C opt-level=1"
    assert "CFLAGS" not in os.environ
