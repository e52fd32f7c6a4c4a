"""What the build takes out of the package before maturin gathers it, and what it leaves alone."""

import sysconfig
from pathlib import Path

import pytest

from tquic_cython import delete_stale_objects, without_objects

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
MODULES = ["tquic._engine", "tquic.h3._codec"]

CURRENT = [
    f"_engine{SUFFIX}",
    "_engine.abi3.so",
    f"h3/_codec{SUFFIX}",
    "h3/_codec.cpython-310-x86_64-linux-gnu.so",
    "h3/_codec.cp313t-win_amd64.pyd",
    "h3/_codec.so",
]
NO_SOURCE = [f"h3/_renamed{SUFFIX}", f"_codec{SUFFIX}", "h3/_engine.abi3.so"]
NO_MODULES = ["h3/_codec.pyi", "libtquic-preload.so", "notes.so.txt", "h3/__init__.py"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "python" / "tquic"
    (package / "h3").mkdir(parents=True)
    for name in CURRENT + NO_SOURCE + NO_MODULES:
        (package / name).write_text(name)
    return package


def files(package: Path) -> set[str]:
    found = (path for path in package.rglob("*") if path.is_file())
    return {path.relative_to(package).as_posix() for path in found}


def test_objects_without_source_are_deleted(package: Path) -> None:
    deleted = delete_stale_objects(package.parents[1], MODULES)
    assert {path.relative_to(package).as_posix() for path in deleted} == set(NO_SOURCE)
    assert files(package) == set(CURRENT + NO_MODULES)
    assert delete_stale_objects(package.parents[1], MODULES) == []


def test_a_wheel_build_sees_no_object_and_leaves_no_trace(package: Path) -> None:
    with without_objects(package.parents[1]):
        assert files(package) == set(NO_MODULES)
        (package / f"h3/_codec{SUFFIX}").write_text("built meanwhile")
        (package / f"h3/_new{SUFFIX}").touch()
    assert files(package) == set(CURRENT + NO_SOURCE + NO_MODULES)
    assert all((package / name).read_text() == name for name in CURRENT)


def interrupted_build(root: Path) -> None:
    with without_objects(root):
        raise KeyboardInterrupt


def test_objects_are_back_after_a_build_that_failed(package: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_build(package.parents[1])
    assert files(package) == set(CURRENT + NO_SOURCE + NO_MODULES)
