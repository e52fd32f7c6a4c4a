"""Real builds: source distribution, wheel from it, and a fresh environment that imports it."""

import posixpath
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest

import tquic_wheel

ROOT = Path(__file__).resolve().parents[2]

IMPORT_ALL = """
import tquic, tquic.h3._codec
assert not tquic.build_info()["debug"]
assert tquic.h3._codec.decode_varint(b"\\x7b\\xbd") == (15293, 2)
print(tquic.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_sdist_to_wheel_to_import(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    # `build` makes the wheel from the unpacked sdist: what that lacks, the wheel build misses.
    run(sys.executable, "-m", "build", "--outdir", dist, ROOT, cwd=tmp_path)

    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert "build_backend/tquic_build.py" in names
    assert "cython/tquic/h3/_varint.pxd" in names
    assert "Cargo.lock" in names
    assert [name for name in names if name.endswith((".so", ".pyd", ".c"))] == []

    (wheel,) = dist.glob("*.whl")
    assert tquic_wheel.main([str(wheel)]) == 0

    home = tmp_path / "home"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run(python, "-m", "pip", "install", "--no-index", wheel, cwd=tmp_path)
    imported = run(python, "-c", IMPORT_ALL, cwd=tmp_path)
    assert Path(imported.strip()).is_relative_to(home)
    assert run(python.parent / "tquic", "--version", cwd=tmp_path).startswith("tquic ")


def test_source_distribution_has_every_member_of_the_workspace() -> None:
    # maturin packs the crates that its own depends on, and takes the others out of the workspace.
    # Cargo.lock still names those, and Cargo would have to change it: with `--locked`, an error.
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]
    of_crate = {
        name: entry["path"]
        for name, entry in workspace["dependencies"].items()
        if isinstance(entry, dict) and "path" in entry
    }
    packed, found = set(), ["rust/py"]
    while found:
        folder = found.pop()
        if folder not in packed:
            packed.add(folder)
            manifest = tomllib.loads((ROOT / folder / "Cargo.toml").read_text())
            found += path_dependencies(manifest, folder, of_crate)
    assert packed == set(workspace["members"])


def path_dependencies(manifest: dict[str, Any], folder: str, of_crate: dict[str, str]) -> list[str]:
    """The folders of a crate's dependencies in the workspace."""
    folders = []
    for table in (manifest, *manifest.get("target", {}).values()):
        for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
            for name, entry in table.get(kind, {}).items():
                if isinstance(entry, dict) and "path" in entry:
                    folders.append(posixpath.normpath(f"{folder}/{entry['path']}"))
                elif name in of_crate:
                    folders.append(of_crate[name])
    return folders
