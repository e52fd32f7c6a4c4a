"""What the build deletes from the package before it compiles, and what it leaves alone."""

import sysconfig
from pathlib import Path

from tquic_cython import delete_stale_objects

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
MODULES = ["tquic._engine", "tquic.h3._codec"]


def test_only_objects_that_this_build_does_not_replace_go(tmp_path: Path) -> None:
    package = tmp_path / "python" / "tquic"
    (package / "h3").mkdir(parents=True)
    stale = [
        package / "_engine.abi3.so",
        package / "h3" / "_codec.cpython-310-x86_64-linux-gnu.so",
        package / "h3" / "_codec.cp313t-win_amd64.pyd",
        package / "h3" / f"_renamed{SUFFIX}",
        package / "h3" / "_codec.so",
    ]
    kept = [
        package / f"_engine{SUFFIX}",
        package / "h3" / f"_codec{SUFFIX}",
        package / "h3" / "_codec.pyi",
        package / "libtquic-preload.so",
        package / "notes.so.txt",
    ]
    for path in stale + kept:
        path.touch()
    assert sorted(delete_stale_objects(tmp_path, MODULES)) == sorted(stale)
    assert [path for path in stale if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_nothing_to_delete_is_no_error(tmp_path: Path) -> None:
    assert delete_stale_objects(tmp_path, MODULES) == []
