"""The package itself: what it says about its build."""

import importlib.metadata

import tquic


def test_versions_agree() -> None:
    assert tquic.__version__ == importlib.metadata.version("tquic")
    assert tquic.build_info()["version"] == tquic.__version__


def test_build_info_names_target_and_profile() -> None:
    info = tquic.build_info()
    assert set(info) == {"version", "debug", "target"}
    # A Rust triple: architecture, vendor, system and perhaps its C library.
    assert info["target"].count("-") >= 2
    # Tests and benchmarks of the package are worth something for an optimised build only.
    assert info["debug"] is False


def test_build_info_is_the_callers_own() -> None:
    tquic.build_info()["version"] = "changed"
    assert tquic.build_info()["version"] == tquic.__version__
