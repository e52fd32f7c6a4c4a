"""Compiles the Cython sources under ``cython/`` into extension modules of the package.

The tree below ``cython/`` mirrors the package: ``cython/tquic/h3/_codec.pyx`` becomes
``python/tquic/h3/_codec<suffix>``. Whoever adds a ``.pyx`` file has nothing to register.
"""

from __future__ import annotations

import re
import shutil
import sysconfig
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


def delete_stale_objects(root: Path, modules: list[str]) -> list[Path]:
    """Deletes extension modules in the package that this build will not replace.

    maturin copies whatever it finds: an object left by another interpreter, or by a source since
    renamed, would be shipped. Objects of this interpreter for a module that still exists stay,
    so that building a wheel does not break an editable install of the same tree.
    """
    package = root / "python"
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    current = {package.joinpath(*name.split(".")).with_suffix(suffix) for name in modules}
    stale = [
        path
        for path in sorted(package.rglob("*"))
        if _EXTENSION_MODULE.fullmatch(path.name) and path not in current
    ]
    for path in stale:
        path.unlink()
    return stale


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
