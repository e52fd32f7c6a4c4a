"""Compiles the Cython sources under ``cython/`` into extension modules of the package.

The tree below ``cython/`` mirrors the package: ``cython/tquic/h3/_codec.pyx`` becomes
``python/tquic/h3/_codec<suffix>``. Whoever adds a ``.pyx`` file has nothing to register.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension

from tquic_wheel import cython_modules

# `name.cpython-311-x86_64-linux-gnu.so`, `name.abi3.so`, `name.cp311-win_amd64.pyd`, `name.so`:
# an extension module. A shared library for other programs (`libname.so`) is none.
_EXTENSION_MODULE = re.compile(r"(?!lib)\w+(\.(cpython|cp|abi3|pypy)[\w-]*)?\.(so|pyd)")

_DIRECTIVES = {
    "language_level": "3",
    # For every module: one without it would switch the GIL on again for the whole process.
    "freethreading_compatible": True,
    # No `__test__` in every module: nothing here has doctests.
    "autotestdict": False,
}


def extension_objects(root: Path) -> list[Path]:
    """Every compiled module that lies in the package now, whoever put it there."""
    package = root / "python"
    return [path for path in sorted(package.rglob("*")) if _EXTENSION_MODULE.fullmatch(path.name)]


def delete_stale_objects(root: Path, modules: list[str]) -> list[Path]:
    """Deletes compiled modules that no source stands for any more; returns them.

    Those of other interpreters stay: each may have an editable install of this tree.
    """
    package = root / "python"
    stale = [
        path
        for path in extension_objects(root)
        if ".".join([*path.parent.relative_to(package).parts, path.name.partition(".")[0]])
        not in modules
    ]
    for path in stale:
        path.unlink()
    return stale


@contextmanager
def without_objects(root: Path) -> Iterator[None]:
    """Takes every compiled module out of the package for a while and puts it back.

    maturin copies whatever it finds into a wheel, also objects of another interpreter or of
    sources since changed. They are not deleted for good, because an editable install of this tree
    runs on them; what the build adds meanwhile is deleted, so a wheel build leaves no trace.
    """
    with tempfile.TemporaryDirectory(prefix="tquic-objects-") as folder:
        moved = [(path, Path(folder) / str(i)) for i, path in enumerate(extension_objects(root))]
        for path, aside in moved:
            shutil.move(path, aside)
        try:
            yield
        finally:
            for path in extension_objects(root):
                path.unlink()
            for path, aside in moved:
                shutil.move(aside, path)


def build(root: Path) -> list[Path]:
    """Compiles every module and puts it into the package; returns the files written.

    C sources and objects go to ``build/cython``, never beside the package.
    """
    work = root / "build" / "cython"
    # Always from nothing: a few seconds buy that what is shipped is what the sources say.
    shutil.rmtree(work, ignore_errors=True)
    extensions = cythonize(
        [
            Extension(name, [f"cython/{name.replace('.', '/')}.pyx"])
            for name in cython_modules(root)
        ],
        build_dir=str(work / "c"),
        include_path=[str(root / "cython")],
        compiler_directives=_DIRECTIVES,
        show_all_warnings=False,
    )
    command = Distribution({"name": "tquic", "ext_modules": extensions}).get_command_obj(
        "build_ext"
    )
    command.build_lib = str(work / "lib")
    command.build_temp = str(work / "temp")
    command.ensure_finalized()
    command.run()

    written = []
    for extension in extensions:
        built = Path(command.get_ext_fullpath(extension.name))
        target = root / "python" / built.relative_to(work / "lib")
        # Unlinked first: a running process may have the old object mapped.
        target.unlink(missing_ok=True)
        shutil.copy2(built, target)
        written.append(target)
    return written
