"""The PEP 517 build backend: Cython first, then maturin, then a look into the finished wheel.

maturin compiles the Rust engine, lays out the package and writes the metadata. It does not run
Cython and builds one library only, so the codec and the library for C programs are compiled into
the package before maturin gathers it, and the wheel is opened afterwards because maturin does not
notice a module that is missing. Bare maturin commands
skip both steps: build with ``pip`` or ``python -m build``.
"""

from __future__ import annotations

import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import maturin

# Hooks that need nothing from us.
from maturin import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

import tquic_cython
import tquic_preload
import tquic_profile
import tquic_reproduce
import tquic_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_ROOT = Path(__file__).resolve().parent.parent

_Settings = dict[str, Any] | None


def build_wheel(
    wheel_directory: str,
    config_settings: _Settings = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds a wheel for the running interpreter and refuses to hand out a broken one."""
    name: str
    with (
        tquic_profile.used(),
        tquic_cython.without_objects(_ROOT),
        tquic_reproduce.anywhere(_ROOT),
    ):
        tquic_cython.build(_ROOT)
        library = tquic_preload.build(_ROOT)
        name = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    tquic_reproduce.settle_wheel(Path(wheel_directory) / name, _ROOT)
    _check(Path(wheel_directory) / name, [] if library is None else [library.name])
    return name


def build_editable(
    wheel_directory: str,
    config_settings: _Settings = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds both compiled modules into the source tree and a wheel that points there."""
    modules = tquic_wheel.expected_modules(_ROOT)
    for path in tquic_cython.delete_stale_objects(_ROOT, modules):
        print(f"deleted the stale object {path.name}")
    name: str
    with tquic_profile.used():
        tquic_cython.build(_ROOT)
        tquic_preload.build(_ROOT)
        name = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for module in modules:
        path = _ROOT.joinpath("python", *module.split(".")).with_suffix(suffix)
        if not path.exists():
            raise SystemExit(f"error: the build left no {path.name} in {path.parent}")
        if module == tquic_wheel.ENGINE:
            _check_profile(path)
    return name


def _check_profile(engine: Path) -> None:
    try:
        tquic_profile.check(engine.read_bytes())
    except tquic_profile.ProfileError as error:
        # Deleted, so that nothing runs on it.
        engine.unlink()
        raise SystemExit(f"error: {error}") from None


def _check(wheel: Path, libraries: list[str]) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    modules = tquic_wheel.expected_modules(_ROOT)
    try:
        tag = tquic_wheel.interpreter_tag()
        tquic_wheel.check_wheel(wheel, modules, suffix, tag, libraries)
        with zipfile.ZipFile(wheel) as archive:
            tquic_profile.check(archive.read(tquic_wheel.ENGINE.replace(".", "/") + suffix))
    except (tquic_wheel.WheelError, tquic_profile.ProfileError) as error:
        # Deleted, so that no later step picks it up all the same.
        wheel.unlink(missing_ok=True)
        raise SystemExit(f"error: {error}") from None
